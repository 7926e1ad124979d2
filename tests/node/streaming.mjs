// Streams: the helper, tool calls through it, and the plain events.
import assert from "node:assert/strict";
import OpenAI from "openai";

const model = "simulator";
const client = new OpenAI();
const conversation = (await client.conversations.create()).id;

const stream = client.responses.stream({
  model,
  input: "[[words 40]] Streamed to the helper.",
  conversation,
});
let heard = "";
stream.on("response.output_text.delta", (event) => {
  heard += event.delta;
  assert.equal(event.snapshot, heard);
});
const final = await stream.finalResponse();
assert.equal(final.status, "completed");
assert.equal(final.output_text, heard);
assert.equal(heard.split(" ").length, 40);
assert.equal((await client.responses.retrieve(final.id)).output_text, heard);

const tools = [
  {
    type: "function",
    name: "weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
    strict: true,
  },
];
const calling = client.responses.stream({
  model,
  input: '[[call weather {"city":"Bad Säckingen"}]] [[call weather {"city":"Oslo"}]]',
  conversation,
  tools,
});
const pieces = {};
for await (const event of calling) {
  if (event.type === "response.function_call_arguments.delta") {
    pieces[event.output_index] = (pieces[event.output_index] ?? "") + event.delta;
  }
}
const calls = (await calling.finalResponse()).output;
assert.deepEqual(calls.map((call) => call.arguments), Object.values(pieces));
assert.deepEqual(calls.map((call) => call.parsed_arguments.city), ["Bad Säckingen", "Oslo"]);

const events = [];
const plain = await client.responses.create({
  model,
  input: calls.map((call) => ({
    type: "function_call_output",
    call_id: call.call_id,
    output: `rain in ${call.parsed_arguments.city}`,
  })),
  conversation,
  tools,
  stream: true,
});
for await (const event of plain) events.push(event);
assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
assert.equal(events[0].type, "response.created");
const last = events.at(-1);
assert.equal(last.type, "response.completed");
assert.match(last.response.output[0].content[0].text, /rain in Bad Säckingen.*rain in Oslo/);

const failing = await client.responses.create({ model, input: "[[fail]] no", stream: true });
const ends = [];
for await (const event of failing) ends.push(event);
assert.equal(ends.at(-1).type, "response.failed");
assert.equal(ends.at(-1).response.error.code, "server_error");

const leaving = await client.responses.create({
  model,
  input: "[[delay 0.02]] [[words 30]] left early",
  conversation,
  stream: true,
});
for await (const event of leaving) if (event.type === "response.output_text.delta") break;
assert.ok(leaving.controller.signal.aborted);
const finished = async () => {
  const { data } = await client.conversations.items.list(conversation, { limit: 1 });
  return data[0].content[0].text.split(" ").length === 30;
};
const deadline = Date.now() + 20_000;
while (!(await finished())) assert.ok(Date.now() < deadline, "the turn was not finished");
