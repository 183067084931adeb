// Read an answer as it is written, over gRPC: node examples/node/chat.mjs [address] [api key]
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address = "127.0.0.1:50051", key] = process.argv.slice(2);
const contract = loader.loadSync("inglenook/chat/v1/chat.proto", {
  includeDirs: [fileURLToPath(new URL("../../proto", import.meta.url))],
  enums: String,
  longs: Number,
  oneofs: true,
});
const { ChatService } = grpc.loadPackageDefinition(contract).inglenook.chat.v1;

const client = new ChatService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
if (key) metadata.set("authorization", `Bearer ${key}`);
const request = {
  model: "assistant",
  messages: [{ role: "ROLE_USER", parts: [{ text: "What is an inglenook?" }] }],
};
try {
  for await (const event of client.chat(request, metadata, { deadline: Date.now() + 60000 })) {
    if (event.delta?.text) process.stdout.write(event.delta.text);
    if (event.finish) console.log(`\n(${event.finish.reason})`);
  }
} finally {
  client.close();
}
