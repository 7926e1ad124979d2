// Errors, by the classes and the fields an application tells them apart with.
import assert from "node:assert/strict";
import OpenAI from "openai";

const model = "simulator";
const client = new OpenAI();
const unknown = "conv_" + "0".repeat(48);

async function refused(call, kind) {
  const error = await call().then(
    () => assert.fail("it was not refused"),
    (reason) => reason,
  );
  assert.equal(error.constructor, kind);
  assert.ok(error.requestID.startsWith("req_"));
  assert.deepEqual(Object.keys(error.error), ["message", "type", "param", "code"]);
  assert.equal(error.type, "invalid_request_error");
  return error;
}

const conversation = (await client.conversations.create()).id;
const busy = await client.responses.create({
  model,
  input: "[[hang]] busy",
  conversation,
  background: true,
});
const locked = await refused(
  () => client.responses.create({ model, input: "me too", conversation }),
  OpenAI.BadRequestError,
);
assert.deepEqual([locked.status, locked.code], [400, "conversation_locked"]);
assert.equal(locked.param, "conversation");
assert.equal(
  locked.message,
  "400 Another process is currently operating on this conversation. " +
    "Please retry in a few seconds.",
);
await client.responses.cancel(busy.id);
const free = await client.responses.create({ model, input: "now me", conversation });
assert.match(free.output_text, /^I have read 1 item /);

const missing = await refused(() => client.conversations.retrieve(unknown), OpenAI.NotFoundError);
assert.deepEqual([missing.status, missing.code, missing.param], [404, null, null]);
assert.equal(missing.message, `404 Conversation with id '${unknown}' not found.`);
await refused(
  () => client.responses.create({ model, input: "x", conversation: unknown }),
  OpenAI.NotFoundError,
);
await refused(() => client.responses.retrieve("resp_" + "0".repeat(50)), OpenAI.NotFoundError);

const parent = await refused(
  () =>
    client.responses.create({ model, input: "x", previous_response_id: "resp_" + "0".repeat(50) }),
  OpenAI.BadRequestError,
);
assert.equal(parent.code, "previous_response_not_found");
const above = await refused(
  () => client.conversations.items.list(conversation, { limit: 101 }),
  OpenAI.BadRequestError,
);
assert.deepEqual([above.code, above.param], ["integer_above_max_value", "limit"]);
const model_unknown = await refused(
  () => client.responses.create({ model: "nope", input: "x" }),
  OpenAI.BadRequestError,
);
assert.equal(model_unknown.code, "model_not_found");
