// Responses in the background: polled, left and taken up again, cancelled.
import assert from "node:assert/strict";
import OpenAI from "openai";

const model = "simulator";
const client = new OpenAI();
const conversation = (await client.conversations.create()).id;
const running = ["queued", "in_progress"];

async function ended(id) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const response = await client.responses.retrieve(id);
    if (!running.includes(response.status)) return response;
    assert.ok(Date.now() < deadline, "it has not ended");
  }
}

async function refused(call, message) {
  await assert.rejects(call, (error) => {
    assert.equal(error.constructor, OpenAI.BadRequestError);
    assert.equal(error.message, `400 ${message}`);
    return true;
  });
}

const started = await client.responses.create({
  model,
  input: "[[delay 0.02]] [[words 20]] polled",
  conversation,
  background: true,
});
assert.ok(running.includes(started.status));
assert.deepEqual([started.background, started.output], [true, []]);
const polled = await ended(started.id);
assert.equal(polled.status, "completed");
assert.equal(polled.output_text.split(" ").length, 20);
await refused(() => client.responses.cancel(polled.id), "Cannot cancel a completed response.");

const seen = [];
const left = await client.responses.create({
  model,
  input: "[[delay 0.02]] [[words 30]] left and taken up again",
  conversation,
  background: true,
  stream: true,
});
for await (const event of left) {
  seen.push(event);
  if (event.type === "response.output_text.delta" && seen.length > 8) break;
}
assert.deepEqual([seen[0].type, seen[0].response.status], ["response.created", "queued"]);
const id = seen[0].response.id;
const after = seen.at(-1).sequence_number;
const rest = await client.responses.retrieve(id, { stream: true, starting_after: after });
for await (const event of rest) seen.push(event);
assert.deepEqual(seen.map((event) => event.sequence_number), [...seen.keys()]);
const deltas = seen.filter((event) => event.type === "response.output_text.delta");
const text = deltas.map((event) => event.delta).join("");
assert.equal(seen.at(-1).type, "response.completed");
assert.equal(seen.at(-1).response.output[0].content[0].text, text);
assert.equal((await ended(id)).output_text, text);

const again = [];
const helper = client.responses.stream({ response_id: id, starting_after: after });
for await (const event of helper) again.push(event);
assert.deepEqual(again, seen.slice(after + 1));
assert.equal((await helper.finalResponse()).output_text, text);
const last = seen.at(-1).sequence_number;
const nothing = await client.responses.retrieve(id, { stream: true, starting_after: last });
for await (const event of nothing) assert.fail(`there is nothing left but ${event.type}`);

const long = await client.responses.create({
  model,
  input: "[[hang]] cancelled",
  conversation,
  background: true,
});
const cancelled = await client.responses.cancel(long.id);
assert.deepEqual([cancelled.id, cancelled.status], [long.id, "cancelled"]);
assert.equal((await client.responses.cancel(long.id)).status, "cancelled");
assert.equal((await client.responses.retrieve(long.id)).status, "cancelled");
const { data } = await client.conversations.items.list(conversation);
assert.equal(data.length, 4);
const free = await client.responses.create({ model, input: "and now?", conversation });
assert.match(free.output_text, /^I have read 5 items /);
await refused(() => client.responses.cancel(free.id), "Cannot cancel a synchronous response.");
