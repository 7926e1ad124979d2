// Items of a conversation: made, listed to the end whatever the page, retrieved and deleted.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI();
const texts = (items) => items.map((item) => item.content[0].text);
const said = (text, role = "user") => ({ type: "message", role, content: text });

const conversation = await client.conversations.create({ items: [said("n0", "developer")] });
const every = ["n0"];
for (let start = 1; start < 51; start += 20) {
  const items = [];
  for (let n = start; n < Math.min(start + 20, 51); n += 1) items.push(said(`n${n}`));
  const made = await client.conversations.items.create(conversation.id, { items });
  assert.equal(made.object, "list");
  assert.deepEqual([made.first_id, made.last_id], [made.data[0].id, made.data.at(-1).id]);
  every.push(...texts(made.data));
}
assert.equal(every.length, 51);

for (const query of [undefined, { limit: 7 }, { limit: 50 }, { limit: 51 }, { limit: 100 }]) {
  const newest = [];
  for await (const item of client.conversations.items.list(conversation.id, query)) {
    newest.push(item);
  }
  assert.deepEqual(texts(newest), every.toReversed());
}
const pages = [];
const page = await client.conversations.items.list(conversation.id, { order: "asc", limit: 20 });
for await (const each of page.iterPages()) pages.push(texts(each.data));
assert.deepEqual(pages.map((each) => each.length), [20, 20, 11]);
assert.deepEqual(pages.flat(), every);

const [oldest] = page.data;
const found = await client.conversations.items.retrieve(oldest.id, {
  conversation_id: conversation.id,
  include: ["message.output_text.logprobs"],
});
assert.deepEqual(found, oldest);
assert.deepEqual([found.type, found.role, found.status], ["message", "developer", "completed"]);

const left = await client.conversations.items.delete(oldest.id, {
  conversation_id: conversation.id,
});
assert.deepEqual(left, conversation);
await assert.rejects(
  client.conversations.items.retrieve(oldest.id, { conversation_id: conversation.id }),
  OpenAI.NotFoundError,
);

const deleted = await client.conversations.delete(conversation.id);
assert.deepEqual(deleted, { id: conversation.id, object: "conversation.deleted", deleted: true });
await assert.rejects(client.conversations.retrieve(conversation.id), OpenAI.NotFoundError);
