// The quickstart, as an application on Node would have it.
import assert from "node:assert/strict";
import OpenAI from "openai";

const model = "simulator";
const client = new OpenAI();

const conversation = await client.conversations.create({
  metadata: { user_id: "user_123", topic: "support" },
});
const first = await client.responses.create({
  model,
  input: "Hello! I need help with my order.",
  conversation: conversation.id,
});
const second = await client.responses.create({
  model,
  input: "My order number is #12345",
  conversation: { id: conversation.id },
});
const joke = await client.responses.create({ model, input: "Tell me a joke" });
const why = await client.responses.create({
  model,
  input: "Explain why that's funny",
  previous_response_id: joke.id,
});

assert.match(second.output_text, /^I have read 3 items .* #12345/);
assert.match(why.output_text, /^I have read 3 items /);
assert.deepEqual(second.conversation, { id: conversation.id });
assert.equal(why.previous_response_id, joke.id);
assert.ok(second._request_id.startsWith("req_"));

const kept = await client.responses.retrieve(first.id);
assert.equal(kept.output_text, first.output_text);
assert.deepEqual(kept.output, first.output);

const found = await client.conversations.retrieve(conversation.id);
assert.deepEqual(found, conversation);
assert.deepEqual(found.metadata, { user_id: "user_123", topic: "support" });
assert.ok(Number.isInteger(found.created_at));
const changed = await client.conversations.update(conversation.id, { metadata: { topic: "done" } });
assert.deepEqual(changed.metadata, { topic: "done" });

const models = [];
for await (const each of client.models.list()) models.push(each.id);
assert.ok(models.includes(model));
