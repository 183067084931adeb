// Embed texts over gRPC: node examples/node/embed.mjs [address] [api key]
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address = "127.0.0.1:50051", key] = process.argv.slice(2);
const contract = loader.loadSync("inglenook/embed/v1/embed.proto", {
  includeDirs: [fileURLToPath(new URL("../../proto", import.meta.url))],
  enums: String,
});
const { EmbedService } = grpc.loadPackageDefinition(contract).inglenook.embed.v1;

const client = new EmbedService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
if (key) metadata.set("authorization", `Bearer ${key}`);
const request = {
  model: "minilm",
  inputs: ["a quiet corner by the fire", "the inglenook", "rye bread"],
  encoding: "ENCODING_FLOAT32",
};
client.embed(request, metadata, { deadline: Date.now() + 5000 }, (error, reply) => {
  if (error) throw error;
  // Packed little-endian floats: one copy puts them where a Float32Array may begin.
  const vectors = reply.embeddings.map(({ packed }) => new Float32Array(new Uint8Array(packed).buffer));
  const [first, ...others] = vectors;
  for (const [index, other] of others.entries()) {
    const similarity = first.reduce((sum, value, place) => sum + value * other[place], 0);
    console.log(`${similarity.toFixed(2)}  ${request.inputs[index + 1]}`);
  }
  client.close();
});
