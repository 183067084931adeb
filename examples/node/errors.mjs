// Read why a call failed, in a form for programs: node examples/node/errors.mjs [address] [api key]
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import protobuf from "protobufjs";

// The part of Google's error model that is read here; docs/errors.md tells what the cluster sends.
const { root } = protobuf.parse(`syntax = "proto3"; package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message FieldViolation { string field = 1; string description = 2; }
  message BadRequest { repeated FieldViolation field_violations = 1; }`);

function* detailsOf(error) {
  for (const bytes of error.metadata.get("grpc-status-details-bin")) {
    for (const any of root.lookupType("google.rpc.Status").decode(bytes).details) {
      const name = any.typeUrl.split("/").pop();
      if (["google.rpc.ErrorInfo", "google.rpc.BadRequest"].includes(name)) {
        yield root.lookupType(name).decode(any.value);
      }
    }
  }
}

const [address = "127.0.0.1:50051", key] = process.argv.slice(2);
const contract = loader.loadSync("inglenook/embed/v1/embed.proto", {
  includeDirs: [fileURLToPath(new URL("../../proto", import.meta.url))],
});
const { EmbedService } = grpc.loadPackageDefinition(contract).inglenook.embed.v1;
const client = new EmbedService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
if (key) metadata.set("authorization", `Bearer ${key}`);

client.embed({ model: "minilm", inputs: ["a text", " "] }, metadata, (error) => {
  console.log(grpc.status[error.code]);
  for (const detail of detailsOf(error)) {
    if (detail.reason) console.log("reason:", detail.reason);
    for (const { field, description } of detail.fieldViolations ?? []) console.log(field, description);
  }
  client.close();
});
