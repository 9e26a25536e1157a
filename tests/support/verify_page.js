// The verifier of the page, beside no page: files on stdin, each behind its length
// in a line of its own; a verdict a line, as verify_proof.py gives it.
"use strict";

const fs = require("node:fs");
const vm = require("node:vm");

globalThis.crypto ??= require("node:crypto").webcrypto;
vm.runInThisContext(fs.readFileSync(process.argv[2], "utf8"), { filename: "verify.js" });

let waiting = Buffer.alloc(0);

async function* files() {
  for await (const chunk of process.stdin) {
    waiting = Buffer.concat([waiting, chunk]);
    for (;;) {
      const end = waiting.indexOf(10);
      if (end < 0) break;
      const length = Number(waiting.subarray(0, end).toString());
      if (waiting.length < end + 1 + length) break;
      yield new Uint8Array(waiting.subarray(end + 1, end + 1 + length));
      waiting = waiting.subarray(end + 1 + length);
    }
  }
}

function told(entry) {
  const { place, seq, id, content, body, action, mediaType, data, erasedBy } = entry;
  if (content === "erased") return { place, seq, id, content, erased_by: erasedBy };
  if (content !== "shown") return { place, seq, id, content };
  const read = { place, seq, id, content, body, action, media_type: mediaType };
  try {
    return { ...read, text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data) };
  } catch {
    return { ...read, base64: Buffer.from(data).toString("base64") };
  }
}

(async () => {
  for await (const file of files()) {
    const found = await globalThis.verifyProof(file);
    const problem = found.problems[0] ?? found.entries.find((entry) => entry.problem !== null)?.problem;
    const { entries, heads } = found.complete ?? {};
    const complete = found.complete ? { entries, heads } : null;
    const verdict = found.ok ? { ok: true, complete, entries: found.entries.map(told), receipts: found.receipts } : { ok: false, problem };
    fs.writeSync(1, JSON.stringify(verdict) + "\n");
  }
})();
