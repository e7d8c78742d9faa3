// Runs against a gateway in front of test.v1.Feed (gateway/websocket_web_test.go
// starts one), whose address is in TRANSOM_URL.
import assert from "node:assert/strict";
import net from "node:net";
import {after, test} from "node:test";
import {Client, RpcError} from "../dist/index.js";
import {WebSocket} from 'ws';

// Browsers have one of their own, Node.js only from version 22 on.
globalThis.WebSocket ??= WebSocket;

const target = new URL(process.env.TRANSOM_URL);
const url = `ws://${target.host}/ws`;
const client = new Client(url, {token: () => "t/1", minBackoff: 5});
after(() => client.close());

test("call", async () => {
  assert.deepEqual(await client.call("test.v1.Feed/Get", {name: "a", n: 1}), {name: "a", n: "2", who: "Bearer t/1"});
});

test("a failure has code, message, details and trailer", async () => {
  await assert.rejects(client.call("test.v1.Feed/Get", {name: "missing"}), error => {
    assert.ok(error instanceof RpcError);
    assert.equal(error.code, 5);
    assert.equal(error.details[0].resourceName, "missing");
    assert.deepEqual(error.trailer, {"x-last": ["2"]});
    return true;
  });
});

test("many messages both ways, half-close", async () => {
  const stream = await client.stream("test.v1.Feed/Chat");
  const sending = (async () => {
    for (let n = 1; n <= 100; n++) await stream.send({name: "x", n});
    stream.halfClose();
  })();
  const got = [];
  for await (const m of stream) got.push(`${m.name}${m.n}`);
  await sending;
  assert.deepEqual(got, [...Array.from({length: 100}, (_, i) => `x${i + 1}`), "bye100"]);
  assert.deepEqual(stream.header, {"x-first": ["1"]});
});

test("leaving the loop cancels the call", async () => {
  for await (const m of client.subscribe("test.v1.Feed/Watch", {name: "forever"})) {
    if (m.n === "2") break;
  }
  assert.deepEqual(await client.call("test.v1.Feed/Get", {name: "a"}), {name: "a", n: "1", who: "Bearer t/1"});
});

test("abort", async () => {
  const abort = new AbortController();
  await assert.rejects(async () => {
    for await (const m of client.subscribe("test.v1.Feed/Watch", {name: "forever"}, {signal: abort.signal})) {
      if (m.n === "3") abort.abort();
    }
  }, {code: 1});
});

test("a lost connection is made again, and nothing is lost or doubled", async () => {
  const open = new Set();
  const proxy = net.createServer(from => {
    const to = net.connect(Number(target.port), target.hostname);
    open.add(from);
    from.pipe(to).pipe(from);
    from.on("error", () => to.destroy()).on("close", () => (open.delete(from), to.destroy()));
    to.on("error", () => from.destroy());
  });
  await new Promise(done => proxy.listen(0, "127.0.0.1", done));
  const own = new Client(`ws://127.0.0.1:${proxy.address().port}/ws`, {minBackoff: 5, credits: 4});
  const got = [];
  let retries = 0;
  for await (const m of own.subscribe("test.v1.Feed/Watch", {name: "count"}, {
    cursor: m => m.n, resume: n => ({n}), onRetry: () => retries++,
  })) {
    got.push(Number(m.n));
    if (m.n === "3" || m.n === "7") for (const s of open) s.destroy();
  }
  own.close();
  proxy.close();
  assert.deepEqual(got, Array.from({length: 10}, (_, i) => i + 1));
  assert.equal(retries, 2);
});

test("renew", async () => {
  let token = "old";
  const own = new Client(url, {token: () => token});
  assert.equal((await own.call("test.v1.Feed/Get", {name: "a"})).who, "Bearer old");
  token = "new";
  await own.renew();
  assert.equal((await own.call("test.v1.Feed/Get", {name: "a"})).who, "Bearer new");
  own.close();
});

test("a refused socket is a readable error", async () => {
  const own = new Client(`ws://${target.host}/nothing`);
  await assert.rejects(own.call("test.v1.Feed/Get", {}), {code: 14});
  own.close();
});
