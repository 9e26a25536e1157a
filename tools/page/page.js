// Shows what `verifyProof` found. Nothing of the data becomes markup: all of it goes
// through `textContent`, and the policy of the page lets no other script run.

/**
 * Characters that are not seen, or that turn the order of others, by their number. The
 * wide space of East Asian text is seen.
 */
function visible(text) {
  const hidden = /(?![ \t\n\u3000])[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]/gu;
  return text.replace(hidden, (found) => `\\u{${found.codePointAt(0).toString(16)}}`);
}

const at = (id) => document.getElementById(id);

function element(kind, content = "", name = "") {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (content instanceof Node) made.append(content);
  else made.textContent = visible(content);
  return made;
}

function counted(count, one, several = one + "s") {
  return `${count.toLocaleString("en")} ${count === 1 ? one : several}`;
}

async function evidence() {
  const packed = b64(at("evidence").textContent.trim(), 0, 2 ** 31);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The content of an entry.

/** A number as it was written, which may be more than a browser's number holds. */
class Exact {
  constructor(source) {
    this.source = source;
  }
}

function jsonOf(entry) {
  if (!/^application\/([^;]*\+)?json\s*(;|$)/i.test(entry.mediaType)) return undefined;
  try {
    const keep = (_, value, context) => (typeof value === "number" && context ? new Exact(context.source) : value);
    return JSON.parse(textOf(entry.data), keep);
  } catch {
    return undefined;
  }
}

const MAX_LEAVES = 1000;

/** Every value that is no object and no array, by its JSON pointer (RFC 6901). */
function leavesOf(value, path = "", found = new Map()) {
  if (found.size >= MAX_LEAVES) return found;
  const isInner = value !== null && typeof value === "object" && !(value instanceof Exact);
  if (!isInner || Object.keys(value).length === 0) {
    found.set(path, value instanceof Exact ? value.source : JSON.stringify(value));
    return found;
  }
  for (const [name, inner] of Object.entries(value)) {
    leavesOf(inner, `${path}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, found);
  }
  return found;
}

const MOST_SHOWN = 600;

function folded(text, name) {
  const pre = element("pre", text.length > MOST_SHOWN ? "" : text);
  if (text.length <= MOST_SHOWN) return pre;
  const details = element("details");
  details.append(element("summary", `${name}, ${counted(text.length, "character")}`), pre);
  details.tell = () => void (pre.textContent ||= visible(text));
  details.addEventListener("toggle", details.tell, { once: true });
  return details;
}

/** That the content was erased, and where that stands. */
function erased(entry, byId) {
  const record = byId.get(entry.erasedBy);
  const said = element("span", "erased, as ", "soft");
  const link = element("a", `seq ${record.seq}`);
  link.href = `#line-${record.line}`;
  said.append(link, " says");
  return said;
}

function what(entry, byId) {
  const cell = element("td");
  if (entry.problem !== null) cell.append(element("p", `Does not hold: ${entry.problem}`, "problem"));
  if (entry.content === "withheld") cell.append(element("span", "withheld: not in this file", "soft"));
  if (entry.content === "erased") cell.append(erased(entry, byId));
  if (entry.content === "sealed") cell.append(element("span", "sealed: for the owner of a key", "soft"));
  if (entry.content !== "shown" || entry.problem !== null) return cell;
  if (entry.action !== "create" && entry.action !== "update") cell.append(element("p", entry.action));
  try {
    cell.append(folded(textOf(entry.data), entry.mediaType));
  } catch {
    cell.append(element("span", `${counted(entry.data.length, "byte")} of ${entry.mediaType}`, "soft"));
  }
  return cell;
}

function changed(entry, before) {
  const cell = element("td");
  if (!entry.leaves) return cell;
  if (!before) return void cell.append(element("span", entry.seq === 1 ? "the first entry" : "", "soft")), cell;
  if (!before.leaves) return void cell.append(element("span", "what was before is not shown", "soft")), cell;
  const list = element("ul");
  const paths = new Set([...before.leaves.keys(), ...entry.leaves.keys()]);
  if (paths.size >= MAX_LEAVES) return void cell.append(element("span", "too much to compare here", "soft")), cell;
  for (const path of paths) {
    const [old, now] = [before.leaves.get(path), entry.leaves.get(path)];
    if (old === now) continue;
    const line = element("li", `${path || "all"}: `);
    if (old !== undefined) line.append(element("del", old), " ");
    if (now !== undefined) line.append(element("ins", now));
    list.append(line);
  }
  // Names that stand there twice, or spaces: what a parsed value does not show.
  const isSameText = same(entry.data, before.data);
  if (!isSameText && !list.childElementCount) list.append(element("li", "only how it is written: see what it says"));
  cell.append(list.childElementCount ? list : element("span", "nothing", "soft"));
  return cell;
}

/** On paper there is nothing to unfold. */
function unfold() {
  for (const details of document.querySelectorAll("td details:not([open])")) {
    details.tell?.();
    details.open = true;
    details.dataset.printed = "yes";
  }
}

function foldAgain() {
  for (const details of document.querySelectorAll("details[data-printed]")) {
    details.open = false;
    delete details.dataset.printed;
  }
}

function toTheSecond(time) {
  return time.slice(0, 19).replace("T", " ");
}

function row(entry, byId) {
  const line = element("tr", "", entry.problem === null ? "" : "bad");
  line.id = `line-${entry.line}`;
  const seq = element("td", entry.seq === undefined ? `line ${entry.line}` : `seq ${entry.seq}`);
  if (entry.place !== undefined) seq.append(element("small", `place ${entry.place.toLocaleString("en")}`));
  const time = element("td", entry.time ? toTheSecond(entry.time) : "");
  time.append(element("small", entry.time ? "UTC, says the writer" : ""));
  const who = element("td");
  who.append(element("bdi", entry.name ?? (entry.actor ? "a key without a name" : "")));
  who.append(element("small", entry.actor ? `key ${entry.actor.slice(0, 16)}` : ""));
  if (entry.signedAs && entry.signedAs !== entry.name) who.append(element("small", `signed as ${entry.signedAs}`));
  const before = (entry.prev ?? []).map((id) => byId.get(id)).filter(Boolean).sort((a, b) => b.seq - a.seq)[0];
  line.append(seq, time, who, what(entry, byId), changed(entry, before));
  return line;
}

// What is said of the whole.

function facts(found) {
  const { subject, entries } = found;
  const count = (word) => entries.filter(({ content }) => content === word).length;
  const said = [];
  const kept = [`${counted(count("shown"), "is", "are")} shown`];
  if (count("erased")) kept.push(`${counted(count("erased"), "was", "were")} erased, as records here say`);
  if (count("withheld")) kept.push(`${counted(count("withheld"), "is", "are")} withheld`);
  if (count("sealed")) kept.push(`${counted(count("sealed"), "is", "are")} sealed`);
  if (subject.kind === "absent") {
    said.push(`In the ledger of ${found.size.toLocaleString("en")} entries, the node says, there was no entry of this thing.`);
    return [...said, ...seen(found)];
  }
  said.push(`${counted(entries.length, "entry, at its place", "entries, at their places")} in a ledger of ${found.size.toLocaleString("en")}; ${kept.join(", ")}.`);
  if (subject.kind === "history" && found.ok) said.push("It is a whole history: no entry before the newest ones is missing.");
  if (found.complete) said.push(completeness(found));
  if (subject.kind === "range") said.push(`It is a part of a history: seq ${subject.from} to ${subject.to === MAX_SAFE ? "the end" : subject.to}.`);
  if (subject.kind === "entries") said.push("These are single entries. Others can be missing.");
  if (found.heads.length > 1 && found.ok) said.push(`It has forked: ${found.heads.length} entries that no other one follows. Several writers went on from the same entry; none of them is wrong for that.`);
  const writers = new Map(entries.filter(({ actor }) => actor).map(({ actor, name }) => [actor, name]));
  const names = [...writers].map(([key, name]) => name ?? `key ${key.slice(0, 16)}`);
  said.push(`${counted(writers.size, "writer")}: ${names.slice(0, 20).join(", ")}${names.length > 20 ? ", …" : ""}.`);
  const times = entries.map(({ time }) => time).filter(Boolean).sort();
  if (times.length) said.push(`The writers say: from ${toTheSecond(times[0])} to ${toTheSecond(times.at(-1))} UTC.`);
  return [...said, ...seen(found)];
}

function completeness({ subject, complete: { entries, heads }, size }) {
  const upTo = `Complete up to ledger size ${size.toLocaleString("en")}, the node says`;
  if (subject.kind === "history") return `${upTo}: these are all entries of it, and nothing newer was left out.`;
  return `${upTo}: it has ${counted(entries, "entry", "entries")} and ${counted(heads, "head")} in all.`;
}

/** What nodes answered to the erasures. A key says that its owner signed, and not who that is. */
function answered({ receipts, entries, node }) {
  const isTold = ({ record }) => entries.some(({ erasedBy }) => erasedBy === record);
  const all = receipts.filter(isTold);
  const names = (some) => [...new Set(some.map((one) => (one.node === node ? "the node itself" : `the key ${one.node.slice(0, 16)}`)))];
  const complete = all.filter(({ verdict, count, of }) => verdict === "erased" && count === of);
  const said = [];
  if (complete.length) said.push(`That it has erased was signed by ${names(complete).join(", ")}. Whose keys these are, this file cannot say.`);
  const partly = all.filter(({ verdict, count, of }) => verdict === "erased" && count < of);
  if (partly.length) said.push(`That it has erased only a part was signed by ${names(partly).join(", ")}.`);
  all.filter(({ verdict }) => verdict === "held").forEach((one) => said.push(`That it keeps ${counted(one.count, "entry", "entries")} was signed by ${names([one])[0]}: ${one.reason}`));
  return said;
}

/** Who else has signed: named, and not checked here. */
function seen(found) {
  const said = found.ok ? answered(found) : [];
  const { others = 0 } = found.complete ?? {};
  if (others) said.push(`${counted(others, "other name stands", "other names stand")} under that, too. Paste the keys of those whom you believe, as a policy above, and this page checks their signatures.`);
  if (found.others.length) said.push(`${counted(found.others.length, "other name stands", "other names stand")} under the ledger as that of a node or witness. Paste the keys of those whom you believe, as a policy above, and this page checks their signatures.`);
  if (found.timestamps.length) said.push(`${counted(found.timestamps.length, "timestamp")} of authorities. This page does not check them; thingdb verify-proof --tsa-root does.`);
  return said;
}

/** What those whom the policy names have said, in sentences. */
function toldByWitnesses(told, found) {
  if (!told.isOfLog) return ["Your policy is for other ledgers: it names logs, and this node is none of them."];
  if (told.size === null) return ["The witnesses of your policy have NOT cosigned any state of it that is shown here."];
  const said = [];
  const ledger = `the ledger of ${told.size.toLocaleString("en")} entries`;
  if (told.time === undefined) said.push("Your policy asks for no witness.");
  else said.push(`${told.by.join(", ")} cosigned ${ledger}: it was there by ${secondsOf(told.time)} UTC, by their clocks.`);
  const beyond = found.entries.length - told.entries;
  if (told.time !== undefined && beyond > 0) said.push(`${counted(beyond, "entry", "entries")} came later: no witness of your policy has seen that.`);
  if (told.recomputed.length) said.push(`Recomputed by ${told.recomputed.join(", ")}: they have all entries of the ledger, and the same heads.`);
  return said;
}

function secondsOf(time) {
  return toTheSecond(new Date(Number(time) * 1000).toISOString());
}

/** What was pasted last: what was asked before it counts no more. */
let asked = 0;

async function believe(found, text) {
  const question = ++asked;
  let told = null;
  let said = [];
  try {
    if (text.trim() !== "" && found.ok) told = await witnessed(found, text);
    if (told) said = toldByWitnesses(told, found);
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    said = [`This does not hold: ${problem.message}.`];
    told = { isRefused: true };
  }
  if (question !== asked) return;
  at("witnesses").replaceChildren(...said.map((line) => element("li", line)));
  found.told = told;
  judge(found, at("expected").value);
}

function judge(found, expected) {
  const digits = expected.toLowerCase().replace(/[^0-9a-f]/g, "");
  const isThere = expected.trim() !== "";
  const told = found.told ?? null;
  const isSame = digits === found.node || (!isThere && told?.isNamed === true);
  at("compared").textContent = !isThere ? "" : isSame ? "It is the same." : digits.length === 64 ? "It is another one." : `${digits.length} of 64 digits`;
  const say = (kind, word, sentence) => {
    at("verdict").className = kind;
    at("word").textContent = word;
    at("sentence").textContent = visible(sentence);
  };
  if (!found.ok) return say("bad", "It does NOT hold", "Something is not as it was signed. Do not rely on this file.");
  if (isThere && digits.length === 64 && !isSame) return say("bad", "Another node", "The file holds, but it is not of the node whose fingerprint you gave.");
  if (told?.isRefused) return say("bad", "Not what you ask for", "The file holds. Your policy could not be read, or a signature of one whom it names is not good: see below.");
  if (told && (!told.isOfLog || told.size === null)) return say("bad", "Not what you ask for", "The file holds, and the policy that you gave is not met: see below.");
  if (isSame && found.subject.kind === "absent") return say("good", "It holds", `In the ledger of ${found.nodeName || "the node"} that you trust there was no such thing.`);
  if (isSame) return say("good", "It holds", `What stands here was recorded in the ledger of ${found.nodeName || "the node"} that you trust, in this order, and is unchanged.`);
  say("open", "It is consistent with itself", "You have not said whom you trust. Compare the fingerprint below: without that, somebody can have made up everything.");
}

function problemsOf(found) {
  const list = at("problems");
  for (const problem of found.problems) list.append(element("li", problem));
  for (const entry of found.entries.filter(({ problem }) => problem !== null).slice(0, 100)) {
    const link = element("a", entry.seq === undefined ? `line ${entry.line}` : `line ${entry.line}, seq ${entry.seq}`);
    link.href = `#line-${entry.line}`;
    const line = element("li", link);
    line.append(`: ${visible(entry.problem)}`);
    list.append(line);
  }
  list.hidden = list.childElementCount === 0;
}

function show(found, file) {
  const thing = found.subject?.thing ?? "a file that does not hold";
  at("thing").textContent = visible(thing);
  document.title = `${visible(thing)}: ThingDB evidence`;
  problemsOf(found);
  judge(found, "");
  at("save").addEventListener("click", () => save(file, thing));
  at("print").addEventListener("click", () => window.print());
  window.addEventListener("beforeprint", unfold);
  window.addEventListener("afterprint", foldAgain);
  at("limits").hidden = false;
  if (!found.node) return;
  at("newer").hidden = found.complete !== undefined;
  at("node").textContent = visible(found.nodeName || "a node without a name");
  at("fingerprint").append(...found.node.match(/.{8}/g).map((part) => element("span", part)));
  at("expected").addEventListener("input", ({ target }) => judge(found, target.value));
  at("policy").addEventListener("input", ({ target }) => void believe(found, target.value));
  at("facts").append(...facts(found).map((fact) => element("li", fact)));
  const byId = new Map();
  for (const entry of found.entries) {
    const json = entry.content === "shown" && entry.problem === null ? jsonOf(entry) : undefined;
    if (json !== undefined) entry.leaves = leavesOf(json);
    if (entry.id) byId.set(entry.id, entry);
  }
  for (const entry of found.entries) at("entries").append(row(entry, byId));
  for (const id of ["who", "whole"]) at(id).hidden = false;
  at("history").hidden = found.entries.length === 0;
}

function save(file, thing) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([file], { type: "application/vnd.thingdb.proof+ndjson" }));
  link.download = `${thing.replace(/[^A-Za-z0-9._-]/g, "_").slice(0, 80)}.tdbproof`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function main() {
  at("word").textContent = "Checking …";
  at("sentence").textContent = "Your browser checks signatures, hashes and order now.";
  try {
    const file = await evidence();
    const found = await verifyProof(file, (done, all) => {
      at("sentence").textContent = `${Math.floor((100 * done) / all)} % checked`;
      return new Promise((resolve) => setTimeout(resolve));
    });
    show(found, file);
  } catch (problem) {
    at("verdict").className = "bad";
    at("word").textContent = "It could not be checked";
    at("sentence").textContent = visible(`This browser could not check the page: ${problem.message}. It needs Ed25519 in Web Crypto: Chromium 137, Firefox 129 or Safari 17, or later.`);
  }
  document.documentElement.dataset.checked = "yes";
}

main();
