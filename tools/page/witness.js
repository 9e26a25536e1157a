// Whom a reader believes (c2sp.org/tlog-policy), and what these have said: cosignatures of
// checkpoints (c2sp.org/tlog-cosignature), and heads notes that were recomputed.

const LOG = 1;
const WITNESS = 4;
const MAX_SECONDS = 253402300799n;
const MAX_POLICY = 262144;
const MAX_POLICY_LINES = 1024;

/** A verifier key: name, the four bytes before its signatures, the Ed25519 key. */
function verifierKey(text, kind) {
  const [name, id, ...rest] = text.split("+");
  need(rest.length > 0, "a verifier key is not name+id+key");
  need(name !== "" && !/\p{White_Space}/u.test(name) && !hasControl(name), "not the name of a key");
  const bytes = b64(rest.join("+"), 33, 33);
  need(bytes[0] === kind, "the key of a log as that of a witness, or the other way round");
  const key = bytes.slice(1);
  checkKey(key);
  const found = keyId(name, kind, key);
  need(hexOf(found) === id, "a verifier key with an id that is not that of its name and key");
  return { name, id: found, key };
}

function keyId(name, kind, key) {
  return sha256(utf8(name), Uint8Array.of(0x0a, kind), key).subarray(0, 4);
}

/** The signatures of a note under a name and a key id. */
function signaturesUnder(note, name, id) {
  const of = note.signatures.filter((line) => line.name === name && same(line.value.subarray(0, 4), id));
  return of.map(({ value }) => value.subarray(4));
}

class Policy {
  constructor(text) {
    need(utf8(text).length <= MAX_POLICY, "a policy that is too long");
    this.logs = [];
    /** Witnesses and groups of what came before them, by their names. */
    this.members = new Map();
    this.taken = new Set();
    this.quorum = undefined;
    const lines = text.split("\n").map((line) => line.split(/[ \t\r]+/).filter(Boolean));
    const meant = lines.filter(([first]) => first !== undefined && !first.startsWith("#"));
    need(meant.length <= MAX_POLICY_LINES, "a policy of too many lines");
    meant.forEach((words) => this.line(words));
    need(this.quorum !== undefined, "it has no line quorum");
  }

  line([kind, ...words]) {
    if (kind === "log" && (words.length === 1 || words.length === 2)) return this.log(verifierKey(words[0], LOG));
    if (kind === "witness" && (words.length === 2 || words.length === 3)) {
      const key = verifierKey(words[1], WITNESS);
      need(![...this.members.values()].some((known) => known.key && same(known.key.key, key.key)), "a witness twice");
      return this.define(words[0], { key });
    }
    if (kind === "group" && words.length > 2) return this.group(words[0], words[1], words.slice(2));
    need(kind === "quorum" && words.length === 1, "a line that is none of log, witness, group and quorum");
    need(this.quorum === undefined, "two lines quorum");
    need(words[0] === "none" || this.members.has(words[0]), "a name that no line before gives");
    this.quorum = words[0];
  }

  log(key) {
    need(!this.logs.some((known) => same(known.key, key.key)), "a log twice");
    this.logs.push(key);
  }

  group(name, least, of) {
    const numbers = { all: of.length, any: 1 };
    const number = Object.hasOwn(numbers, least) ? numbers[least] : /^[1-9][0-9]{0,3}$/.test(least) ? Number(least) : 0;
    need(1 <= number && number <= of.length, "a group with another number than it has members for");
    for (const member of of) {
      need(this.members.has(member), "a name that no line before gives");
      need(!this.taken.has(member), "a name that is a member twice");
      this.taken.add(member);
    }
    this.define(name, { least: number, of });
  }

  define(name, member) {
    need(name !== "none" && !this.members.has(name), "a name twice, or the name none");
    this.members.set(name, member);
  }

  /** Whether the node with this key is one of the logs. */
  names(key) {
    const name = `thingdb.node/${hexOf(sha256(key)).slice(0, 32)}`;
    return this.logs.some((log) => log.name === name && same(log.key, key));
  }

  /** Who has cosigned a checkpoint, and since when they were enough. */
  async judge(note) {
    const since = new Map();
    const by = [];
    for (const [name, member] of this.members) {
      let time;
      if (member.key) {
        time = await cosignedAt(note, member.key);
        if (time !== undefined) by.push(name);
      } else {
        const times = member.of.map((of) => since.get(of)).filter((of) => of !== undefined);
        time = times.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))[member.least - 1];
      }
      since.set(name, time);
    }
    const time = this.quorum === "none" ? undefined : since.get(this.quorum);
    return { by, time, isMet: this.quorum === "none" || time !== undefined };
  }
}

/** The earliest second at which a witness cosigned; nothing if it has not. */
async function cosignedAt(note, { name, id, key }) {
  let earliest;
  for (const value of signaturesUnder(note, name, id)) {
    need(value.length === 72, "a cosignature of another length");
    const time = BigInt("0x" + hexOf(value.subarray(0, 8)));
    need(1n <= time && time <= MAX_SECONDS, "a cosignature with a time that is none");
    await checkSignature(key, utf8(`cosignature/v1\ntime ${time}\n${note.text}\n`), value.subarray(8));
    if (earliest === undefined || time < earliest) earliest = time;
  }
  return earliest;
}

/** Whether another node has signed a heads note, as one who has recomputed it. */
async function isRecomputedBy(note, { name, key }) {
  const origin = hexOf(sha256(key)).slice(0, 32);
  if (name !== `thingdb.node/${origin}` || origin === note.origin) return false;
  const [signature, ...more] = signaturesUnder(note, name, keyId(name, LOG, key));
  if (!signature) return false;
  need(more.length === 0 && signature.length === 64, "a heads note that a node has signed twice");
  await checkSignature(key, utf8(note.text + "\n"), signature);
  return true;
}

/**
 * What those whom a policy names have said of a file that holds: of its largest checkpoint
 * that meets the policy.
 *
 * @param found what `verifyProof` gave
 * @param {string} text the policy
 */
async function witnessed(found, text) {
  const policy = new Policy(text);
  const told = { isOfLog: policy.logs.length === 0 || policy.names(found.key), isNamed: policy.names(found.key) };
  Object.assign(told, { size: null, by: [], time: undefined, entries: 0, recomputed: [] });
  const notes = [...found.notes].sort((a, b) => b.size - a.size);
  for (const note of told.isOfLog ? notes : []) {
    const { by, time, isMet } = await policy.judge(note);
    if (!isMet) continue;
    const entries = found.entries.filter(({ place }) => place < note.size).length;
    Object.assign(told, { size: note.size, by, time, entries });
    break;
  }
  const keys = [...policy.logs.map((key) => [key.name, key])];
  for (const [name, { key }] of policy.members) if (key) keys.push([name, key]);
  for (const [name, key] of found.headsNote ? keys : []) {
    if (!told.recomputed.includes(name) && (await isRecomputedBy(found.headsNote, key))) told.recomputed.push(name);
  }
  return told;
}
