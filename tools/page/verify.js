// Checks proof files of ThingDB: a third reader, written from docs/format.md.
//
// It needs no library and no network: Ed25519, SHA-256 of what is large, and AES-GCM
// come from Web Crypto, the rest is here. `verify_proof.py` says the same, of every
// vector and of files that were changed; a test holds both against the Rust reader.
"use strict";

const MAX_SAFE = Number.MAX_SAFE_INTEGER;
const MAX_TIME = 253402300799999999n;
const MAX_LINE = 25165824;
const MAX_ENTRIES = 262144;
const MAX_OUTSIDE = 262144;
const MAX_STAMPS = 16;
const MAX_RECEIPTS = 1024;

/** Something is not as the format says. */
class Refused extends Error {}

function need(holds, what) {
  if (!holds) throw new Refused(what);
}

// Bytes.

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8(text) {
  return encoder.encode(text);
}

function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Refused("not UTF-8");
  }
}

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hexOf(bytes) {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

function same(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function unsigned(value, count) {
  const bytes = new Uint8Array(count);
  let rest = BigInt(value);
  for (let at = count - 1; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 255n);
  return bytes;
}

function label32(text) {
  const bytes = new Uint8Array(32);
  bytes.set(utf8(text));
  return bytes;
}

// SHA-256 (FIPS 180-4): here, because a promise for each of many small hashes takes
// longer than the hash.

const K = new Int32Array(64);
const START = new Int32Array(8);

(function constants() {
  const isPrime = (n) => {
    for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
    return true;
  };
  const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) | 0;
  for (let n = 2, count = 0; count < 64; n++) {
    if (!isPrime(n)) continue;
    if (count < 8) START[count] = fraction(Math.sqrt(n));
    K[count++] = fraction(Math.cbrt(n));
  }
})();

const SCHEDULE = new Int32Array(64);

function compress(state, block, at) {
  const w = SCHEDULE;
  for (let i = 0; i < 16; i++, at += 4) {
    w[i] = (block[at] << 24) | (block[at + 1] << 16) | (block[at + 2] << 8) | block[at + 3];
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15];
    const y = w[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
  }
  let a = state[0];
  let b = state[1];
  let c = state[2];
  let d = state[3];
  let e = state[4];
  let f = state[5];
  let g = state[6];
  let h = state[7];
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const one = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  state[0] = (state[0] + a) | 0;
  state[1] = (state[1] + b) | 0;
  state[2] = (state[2] + c) | 0;
  state[3] = (state[3] + d) | 0;
  state[4] = (state[4] + e) | 0;
  state[5] = (state[5] + f) | 0;
  state[6] = (state[6] + g) | 0;
  state[7] = (state[7] + h) | 0;
}

function sha256(...parts) {
  const data = parts.length === 1 ? parts[0] : joined(...parts);
  const state = START.slice();
  const whole = data.length - (data.length % 64);
  for (let at = 0; at < whole; at += 64) compress(state, data, at);
  const rest = data.length - whole;
  const tail = new Uint8Array(rest < 56 ? 64 : 128);
  tail.set(data.subarray(whole));
  tail[rest] = 0x80;
  new DataView(tail.buffer).setBigUint64(tail.length - 8, BigInt(data.length) * 8n);
  for (let at = 0; at < tail.length; at += 64) compress(state, tail, at);
  const out = new DataView(new ArrayBuffer(32));
  state.forEach((word, at) => out.setInt32(4 * at, word));
  return new Uint8Array(out.buffer);
}

/** HMAC-SHA-256 (RFC 2104) with a key of 32 bytes. */
function hmac(key, ...parts) {
  const inner = new Uint8Array(64).fill(0x36);
  const outer = new Uint8Array(64).fill(0x5c);
  for (let at = 0; at < 32; at++) {
    inner[at] ^= key[at];
    outer[at] ^= key[at];
  }
  return sha256(outer, sha256(inner, ...parts));
}

/** HKDF-Expand (RFC 5869) to 32 bytes. */
function expand(key, info) {
  return hmac(key, info, Uint8Array.of(1));
}

// Ed25519 (RFC 8032). Web Crypto verifies; what it may let pass is refused here: keys
// that are not acceptable, and an R of small order. Points are [X, Y, Z, T] with
// x = X/Z, y = Y/Z, T = XY/Z.

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const NEUTRAL = [0n, 1n, 1n, 0n];

function mod(n) {
  const rest = n % P;
  return rest < 0n ? rest + P : rest;
}

function power(base, exponent) {
  let result = 1n;
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = (b * b) % P) if (e & 1n) result = (result * b) % P;
  return result;
}

const D = mod(-121665n * power(121666n, P - 2n));
const ROOT = power(2n, (P - 1n) / 4n);

function add(p, q) {
  const a = (p[1] - p[0]) * (q[1] - q[0]);
  const b = (p[1] + p[0]) * (q[1] + q[0]);
  const c = 2n * p[3] * ((q[3] * D) % P);
  const d = 2n * p[2] * q[2];
  const [e, f, g, h] = [mod(b - a), mod(d - c), mod(d + c), mod(b + a)];
  return [(e * f) % P, (g * h) % P, (f * g) % P, (e * h) % P];
}

function times(n, p) {
  let result = NEUTRAL;
  for (let q = p, rest = n; rest > 0n; rest >>= 1n, q = add(q, q)) if (rest & 1n) result = add(result, q);
  return result;
}

function isNeutral(p) {
  return p[0] === 0n && p[1] === p[2];
}

function littleEndian(bytes) {
  return BigInt("0x" + hexOf(bytes.slice().reverse()));
}

/** The point of 32 bytes in their canonical encoding. */
function point(bytes) {
  const all = littleEndian(bytes);
  const sign = all >> 255n;
  const y = all & (2n ** 255n - 1n);
  need(y < P, "a point is not canonical");
  const u = mod(y * y - 1n);
  const v = mod(D * y * y + 1n);
  let x = power(u * power(v, P - 2n), (P + 3n) / 8n);
  if (mod(x * x * v - u) !== 0n) x = (x * ROOT) % P;
  need(mod(x * x * v - u) === 0n, "not a point of the curve");
  need(x !== 0n || sign === 0n, "a point is not canonical");
  if ((x & 1n) !== sign) x = P - x;
  return [x, y, 1n, (x * y) % P];
}

/** The encodings of the eight points of small order. */
const SMALL = new Set([
  "01".padEnd(64, "0"),
  "ec".padEnd(62, "f") + "7f",
  "".padEnd(64, "0"),
  "80".padStart(64, "0"),
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]);

/** Acceptable keys that were seen; a key stands in many lines. */
const acceptable = new Set();

function checkKey(key) {
  const name = hexOf(key);
  if (acceptable.has(name)) return;
  const p = point(key);
  need(!SMALL.has(name), "a key of small order");
  need(isNeutral(times(L, p)), "a key outside the prime-order subgroup");
  acceptable.add(name);
}

const importedKeys = new Map();

function importedKey(key) {
  const name = hexOf(key);
  if (!importedKeys.has(name)) {
    importedKeys.set(name, crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]));
  }
  return importedKeys.get(name);
}

async function checkSignature(key, message, signature) {
  checkKey(key);
  need(!SMALL.has(hexOf(signature.subarray(0, 32))), "R of a signature is of small order");
  need(littleEndian(signature.subarray(32)) < L, "S of a signature is not canonical");
  const isGood = await crypto.subtle.verify("Ed25519", await importedKey(key), signature, message);
  need(isGood, "a signature does not match");
}

const SMALL_MONTGOMERY = new Set([
  0n,
  1n,
  P - 1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
]);

function checkEncryptionKey(key) {
  const u = littleEndian(key);
  need(u < P && !SMALL_MONTGOMERY.has(u), "an encryption key that is not acceptable");
}

// ChaCha20-Poly1305 (RFC 8439), which Web Crypto does not have. The nonce is zeros.

function chachaBlock(input, output) {
  const x = Uint32Array.from(input);
  const quarter = (a, b, c, d) => {
    x[a] += x[b];
    x[d] ^= x[a];
    x[d] = (x[d] << 16) | (x[d] >>> 16);
    x[c] += x[d];
    x[b] ^= x[c];
    x[b] = (x[b] << 12) | (x[b] >>> 20);
    x[a] += x[b];
    x[d] ^= x[a];
    x[d] = (x[d] << 8) | (x[d] >>> 24);
    x[c] += x[d];
    x[b] ^= x[c];
    x[b] = (x[b] << 7) | (x[b] >>> 25);
  };
  for (let round = 0; round < 10; round++) {
    quarter(0, 4, 8, 12);
    quarter(1, 5, 9, 13);
    quarter(2, 6, 10, 14);
    quarter(3, 7, 11, 15);
    quarter(0, 5, 10, 15);
    quarter(1, 6, 11, 12);
    quarter(2, 7, 8, 13);
    quarter(3, 4, 9, 14);
  }
  const view = new DataView(output.buffer);
  for (let at = 0; at < 16; at++) view.setUint32(4 * at, (x[at] + input[at]) >>> 0, true);
}

function openChacha(key, aad, sealed) {
  const state = new Uint32Array(16);
  state.set([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]);
  const words = new DataView(key.buffer, key.byteOffset, 32);
  for (let at = 0; at < 8; at++) state[4 + at] = words.getUint32(4 * at, true);
  const stream = new Uint8Array(64);
  chachaBlock(state, stream);
  const r = littleEndian(stream.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  const s = littleEndian(stream.subarray(16, 32));
  const text = sealed.subarray(0, sealed.length - 16);
  let sum = 0n;
  const prime = 2n ** 130n - 5n;
  const take = (bytes) => {
    for (let at = 0; at < bytes.length; at += 16) {
      const block = new Uint8Array(17);
      block.set(bytes.subarray(at, at + 16));
      block[16] = 1;
      sum = ((sum + littleEndian(block)) * r) % prime;
    }
  };
  const lengths = new Uint8Array(16);
  new DataView(lengths.buffer).setBigUint64(0, BigInt(aad.length), true);
  new DataView(lengths.buffer).setBigUint64(8, BigInt(text.length), true);
  take(aad);
  take(text);
  take(lengths);
  const tag = unsigned((sum + s) & (2n ** 128n - 1n), 16).reverse();
  need(same(tag, sealed.subarray(sealed.length - 16)), "the payload does not open with this cek");
  const open = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 64) {
    state[12]++;
    chachaBlock(state, stream);
    const end = Math.min(at + 64, text.length);
    for (let byte = at; byte < end; byte++) open[byte] = text[byte] ^ stream[byte - at];
  }
  return open;
}

async function openGcm(key, aad, sealed) {
  const imported = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  const how = { name: "AES-GCM", iv: new Uint8Array(12), additionalData: aad };
  try {
    return new Uint8Array(await crypto.subtle.decrypt(how, imported, sealed));
  } catch {
    throw new Refused("the payload does not open with this cek");
  }
}

// The Merkle tree of RFC 9162. Sizes go up to 2^53, so no operators of 32 bits.

const EMPTY_TREE = sha256(new Uint8Array(0));
const half = (n) => Math.floor(n / 2);
const isOdd = (n) => n % 2 === 1;
const leafOf = (data) => sha256(Uint8Array.of(0), data);
const nodeOf = (left, right) => sha256(Uint8Array.of(1), left, right);

function inclusionRoot(hash, index, size, path) {
  need(index < size, "an index that is not in its tree");
  let [fn, sn, root] = [index, size - 1, hash];
  for (const sibling of path) {
    need(sn > 0, "a path that is too long");
    if (isOdd(fn) || fn === sn) {
      root = nodeOf(sibling, root);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      root = nodeOf(root, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  need(sn === 0, "a path that is too short");
  return root;
}

function checkConsistency(old, now, path, oldRoot, nowRoot) {
  need(old <= now, "a checkpoint of a larger ledger");
  if (old === 0) return need(!path.length && same(oldRoot, EMPTY_TREE), "a proof from an empty ledger");
  if (old === now) return need(!path.length && same(oldRoot, nowRoot), "two ledgers of one size");
  let [fn, sn] = [old - 1, now - 1];
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  // A power of two is a complete subtree: its root begins the path.
  const hashes = fn === 0 ? [oldRoot, ...path] : path;
  need(hashes.length, "a consistency proof is empty");
  let [fr, sr] = [hashes[0], hashes[0]];
  for (const hash of hashes.slice(1)) {
    need(sn > 0, "a consistency proof is too long");
    if (isOdd(fn) || fn === sn) {
      [fr, sr] = [nodeOf(hash, fr), nodeOf(hash, sr)];
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      sr = nodeOf(sr, hash);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  need(sn === 0 && same(fr, oldRoot) && same(sr, nowRoot), "the ledger did not grow out of an earlier one");
}

/** The heights of the subtrees that cover a gap, from left to right. */
function gapHeights(start, end) {
  const heights = [];
  for (let at = start; at < end; ) {
    let height = 0;
    for (let width = 2; at % width === 0 && at + width <= end; width *= 2) height++;
    heights.push(height);
    at += 2 ** height;
  }
  return heights;
}

/** A tree that grows at its right edge. */
class Tree {
  constructor() {
    this.size = 0;
    this.parts = [];
  }

  push(height, hash) {
    this.size += 2 ** height;
    let [at, root] = [height, hash];
    while (this.parts.length && this.parts.at(-1)[0] === at) {
      root = nodeOf(this.parts.pop()[1], root);
      at++;
    }
    this.parts.push([at, root]);
  }

  fill(end, hashes) {
    const heights = gapHeights(this.size, end);
    need(heights.length === hashes.length, "a gap has another number of hashes");
    heights.forEach((height, at) => this.push(height, hashes[at]));
  }

  root() {
    if (!this.parts.length) return EMPTY_TREE;
    return this.parts.map(([, hash]) => hash).reduceRight((right, left) => nodeOf(left, right));
  }
}

// JSON with one meaning: no member twice, numbers are integers without a sign.

const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const MAX_DEPTH = 64;

class Json {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  static parse(text) {
    const json = new Json(text);
    const value = json.value(0);
    json.space();
    need(json.at === text.length, "not JSON: something follows the value");
    return value;
  }

  space() {
    while (this.at < this.text.length && " \t\r\n".includes(this.text[this.at])) this.at++;
  }

  /** Whether this character comes next; it is taken then. */
  takes(character) {
    this.space();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  value(depth) {
    need(depth < MAX_DEPTH, "not JSON: too deep");
    this.space();
    const first = this.text[this.at];
    if (first === '"') return this.string();
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    const word = /[a-z]+|-?[0-9][-+.0-9eE]*/y;
    word.lastIndex = this.at;
    const found = word.exec(this.text)?.[0] ?? "";
    this.at += found.length;
    const words = { true: true, false: false, null: null };
    if (Object.hasOwn(words, found)) return words[found];
    need(/^(0|[1-9][0-9]*)$/.test(found), "not JSON, or a number that is no integer");
    // Above 2^53 it is not exact, and beyond every bound.
    return Number(found);
  }

  object(depth) {
    this.at++;
    const members = new Map();
    if (this.takes("}")) return members;
    do {
      this.space();
      need(this.text[this.at] === '"', "not JSON: a name is expected");
      const name = this.string();
      need(!members.has(name), "a member is there twice");
      need(this.takes(":"), "not JSON: a colon is expected");
      members.set(name, this.value(depth + 1));
    } while (this.takes(","));
    need(this.takes("}"), "not JSON: an object that does not end");
    return members;
  }

  array(depth) {
    this.at++;
    const values = [];
    if (this.takes("]")) return values;
    do values.push(this.value(depth + 1));
    while (this.takes(","));
    need(this.takes("]"), "not JSON: an array that does not end");
    return values;
  }

  string() {
    const { text } = this;
    const plain = /[^"\\\u0000-\u001f]*/y;
    let found = "";
    for (this.at++; ; ) {
      plain.lastIndex = this.at;
      found += plain.exec(text)[0];
      this.at = plain.lastIndex;
      const next = text[this.at];
      if (next === '"') break;
      need(next === "\\", "not JSON: a string that does not end");
      const kind = text[this.at + 1];
      if (kind === "u") {
        const digits = text.slice(this.at + 2, this.at + 6);
        need(/^[0-9a-fA-F]{4}$/.test(digits), "not JSON: an escape that is none");
        found += String.fromCharCode(parseInt(digits, 16));
        this.at += 6;
      } else {
        need(kind !== undefined && Object.hasOwn(ESCAPES, kind), "not JSON: an escape that is none");
        found += ESCAPES[kind];
        this.at += 2;
      }
    }
    this.at++;
    need(found.isWellFormed ? found.isWellFormed() : !LONE.test(found), "half a surrogate pair");
    return found;
  }
}

const LONE = /\p{Surrogate}/u;

function members(value, required, optional = []) {
  need(value instanceof Map, "an object is expected");
  need(required.every((name) => value.has(name)), "a member is missing");
  need([...value.keys()].every((name) => required.includes(name) || optional.includes(name)), "an unknown member");
}

function number(value, least, most) {
  need(typeof value === "number" && least <= value && value <= most, "a number is out of its bounds");
  return value;
}

function string(value) {
  need(typeof value === "string", "a string is expected");
  return value;
}

function list(value, least, most, what) {
  need(Array.isArray(value) && least <= value.length && value.length <= most, what);
  return value;
}

function hexa(value, count) {
  need(string(value).length === 2 * count && /^[0-9a-f]*$/.test(value), "not so many bytes in hex");
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; at++) bytes[at] = parseInt(value.substr(2 * at, 2), 16);
  return bytes;
}

const DIGITS = new Int16Array(128).fill(-1);
[..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].forEach((digit, value) => {
  DIGITS[digit.charCodeAt(0)] = value;
});

function b64(value, least, most) {
  const text = string(value);
  need(text.length % 4 === 0, "not base64");
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const length = (text.length / 4) * 3 - padding;
  need(least <= length && length <= most, "base64 of another length");
  const bytes = new Uint8Array(length);
  let [bits, count, at] = [0, 0, 0];
  for (let from = 0; from < text.length - padding; from++) {
    const digit = DIGITS[text.charCodeAt(from)] ?? -1;
    need(digit >= 0, "not base64");
    bits = ((bits << 6) | digit) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes[at++] = bits >> count;
    }
  }
  need((bits & ((1 << count) - 1)) === 0, "base64 in another spelling");
  return bytes;
}

function hashesIn(bytes) {
  need(bytes.length % 32 === 0, "not a whole number of hashes");
  return Array.from({ length: bytes.length / 32 }, (_, at) => bytes.subarray(32 * at, 32 * at + 32));
}

const hashes = (value) => hashesIn(b64(value, 32, 128 * 32));
const hasControl = (text) => /[\u0000-\u001f\u007f-\u009f]/.test(text);

function plain(text, least, most) {
  const length = utf8(text).length;
  need(least <= length && length <= most, "a text of another length");
  need(!hasControl(text), "a control character");
  return text;
}

/** Takes bytes from the front. */
class Taker {
  constructor(bytes, what) {
    this.rest = bytes;
    this.what = what;
  }

  take(count) {
    need(this.rest.length >= count, `${this.what} that ends early`);
    const taken = this.rest.subarray(0, count);
    this.rest = this.rest.subarray(count);
    return taken;
  }

  number(count) {
    return this.take(count).reduce((all, byte) => all * 256 + byte, 0);
  }

  text(least, most) {
    return plain(textOf(this.take(this.number(1))), least, most);
  }
}

// What entries, cards and checkpoints are.

/** Microseconds since 1970. */
function parseTime(text) {
  const found = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z$/.exec(string(text));
  need(found, "not a time");
  const [year, month, day, hour, minute, second, micros] = found.slice(1).map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const isSame = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  need(isSame && hour < 24 && minute < 60 && second < 60, "not a time");
  const time = BigInt(date.getTime()) * 1000n + BigInt(micros);
  need(0n <= time && time <= MAX_TIME, "a number is out of its bounds");
  return time;
}

const ENTRY = ["v", "id", "thing", "seq", "time", "origin", "actor", "prev", "suite", "data_hash", "payload_hash"];
ENTRY.push("payload_len", "sig");

class Entry {
  constructor(line) {
    members(line, ENTRY, ["payload", "envelopes"]);
    number(line.get("v"), 1, 1);
    this.thing = plain(string(line.get("thing")), 1, 512);
    this.seq = number(line.get("seq"), 1, MAX_SAFE);
    this.timeText = line.get("time");
    this.time = parseTime(this.timeText);
    this.origin = hexa(line.get("origin"), 16);
    this.actor = hexa(line.get("actor"), 32);
    this.suite = number(line.get("suite"), 1, 2);
    const prev = list(line.get("prev"), 0, 32, "prev is no list of at most 32");
    this.prev = prev.map((id) => hexOf(hexa(id, 32)));
    need(this.prev.every((id, at) => at === 0 || this.prev[at - 1] < id), "prev is not in ascending order");
    need((this.seq === 1) === (this.prev.length === 0), "seq 1 and no prev go together");
    this.dataHash = hexa(line.get("data_hash"), 32);
    const payloadHash = hexa(line.get("payload_hash"), 32);
    const payloadLen = number(line.get("payload_len"), 23, 16777216);
    const thing = utf8(this.thing);
    this.header = joined(
      Uint8Array.of(1, this.suite),
      unsigned(thing.length, 2),
      thing,
      unsigned(this.seq, 8),
      unsigned(this.time, 8),
      this.origin,
      this.actor,
      Uint8Array.of(prev.length),
      ...prev.map((id) => hexa(id, 32)),
      this.dataHash,
      payloadHash,
      unsigned(payloadLen, 4),
    );
    this.id = sha256(utf8("thingdb/1/entry\0"), this.header);
    this.name = hexOf(this.id);
    need(same(hexa(line.get("id"), 32), this.id), "id is not that of the header");
    this.payload = null;
    if (line.has("payload")) {
      this.payload = b64(line.get("payload"), payloadLen, payloadLen);
      need(same(sha256(this.payload), payloadHash), "payload_hash is not that of the payload");
    }
    if (line.has("envelopes")) checkEnvelopes(line.get("envelopes"));
    this.signed = this.signature(line.get("sig"));
  }

  /** What is signed, and the signature. */
  signature(sig) {
    need(sig instanceof Map, "sig is no object");
    if (sig.get("kind") === 1) {
      members(sig, ["kind", "value"]);
      return [joined(label32("thingdb/1/sign-entry"), this.header), b64(sig.get("value"), 64, 64)];
    }
    members(sig, ["kind", "value", "index", "size", "path"]);
    number(sig.get("kind"), 2, 2);
    const size = number(sig.get("size"), 2, 65536);
    const path = hashesIn(b64(sig.get("path"), 0, 512));
    const root = inclusionRoot(leafOf(this.id), number(sig.get("index"), 0, size - 1), size, path);
    return [joined(label32("thingdb/1/sign-batch"), unsigned(size, 8), root), b64(sig.get("value"), 64, 64)];
  }

  async open(cek) {
    const suite = Uint8Array.of(this.suite);
    const key = expand(cek, joined(utf8("thingdb/1/payload"), suite));
    const open = this.suite === 1 ? openGcm : openChacha;
    const body = await open(key, utf8("thingdb/1/body"), this.payload);
    const commitment = expand(cek, joined(utf8("thingdb/1/commitment"), suite));
    need(same(hmac(commitment, body), this.dataHash), "data_hash is not that of the body");
    return readBody(body);
  }
}

function readBody(body) {
  const taker = new Taker(body, "a body");
  const mediaType = () => {
    const text = taker.text(1, 255);
    need(/^[ -~]+$/.test(text), "not a media type");
    return text;
  };
  const encoding = taker.number(1);
  need(encoding <= 1, "a newer encoding");
  const read = { body: hexOf(sha256(body)), signedAs: taker.text(1, 128), action: taker.text(1, 64) };
  read.mediaType = mediaType();
  if (encoding === 1) {
    mediaType();
    taker.take(taker.number(4));
  }
  read.data = taker.rest;
  return read;
}

const MAX_AHEAD = 2 ** 20;

/** The ids that a body lists if it is an erasure record; none if it cannot be read as one. */
function erasedIn({ action, mediaType, data }) {
  if (action !== "erase" || mediaType !== "application/vnd.thingdb.erasure+json") return [];
  try {
    need(!data.includes(0x0a), "a line feed");
    const record = parseLine(data.at(-1) === 0x0d ? data.subarray(0, -1) : data);
    members(record, ["v", "erased", "reason"], ["basis"]);
    number(record.get("v"), 1, 1);
    plain(string(record.get("reason")), 1, 1024);
    if (record.has("basis")) need(/^[A-Za-z0-9._:-]{1,64}$/.test(string(record.get("basis"))), "not a basis");
    const erased = list(record.get("erased"), 1, 65536, "not 1 to 65536 ids").map((id) => hexOf(hexa(id, 32)));
    need(erased.every((id, at) => at === 0 || erased[at - 1] < id), "ids that are not in ascending order");
    return erased;
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    return [];
  }
}

/** Which entries without their content a record in the file covers. */
class Erasures {
  constructor(card) {
    this.node = card.fingerprint.slice(0, 32);
    this.actors = card.actors;
    this.stubs = new Map();
    this.ahead = new Map();
    this.count = 0;
    this.erased = new Map();
  }

  may(by, { actor, origin }) {
    return by === actor || (origin === this.node && this.actors.has(by));
  }

  stub(told) {
    const found = (this.ahead.get(told.id) ?? []).find(({ actor }) => this.may(actor, told));
    this.ahead.delete(told.id);
    if (found) this.erased.set(told.id, found.id);
    else this.stubs.set(told.id, told);
  }

  record(told) {
    for (const id of erasedIn(told)) {
      const stub = this.stubs.get(id);
      if (stub) {
        if (!this.may(told.actor, stub)) continue;
        this.stubs.delete(id);
        this.erased.set(id, told.id);
      } else if (!this.erased.has(id) && this.count < MAX_AHEAD) {
        this.count++;
        if (!this.ahead.has(id)) this.ahead.set(id, []);
        this.ahead.get(id).push(told);
      }
    }
  }

  /** In the order of the file, when all entries are known to hold. */
  settle(entries) {
    for (const told of entries) {
      if (told.content === "withheld") this.stub(told);
      if (told.content === "shown") this.record(told);
    }
    for (const told of entries) {
      if (this.erased.has(told.id)) Object.assign(told, { content: "erased", erasedBy: this.erased.get(told.id) });
    }
  }
}

function checkEnvelopes(envelopes) {
  for (const envelope of list(envelopes, 1, 8, "not 1 to 8 envelopes")) {
    members(envelope, ["from", "cek", "recipients"]);
    hexa(envelope.get("from"), 16);
    b64(envelope.get("cek"), 48, 48);
    for (const packet of list(envelope.get("recipients"), 1, 256, "not 1 to 256 recipients")) {
      need(packet instanceof Map, "a recipient is no object");
      if (packet.get("kind") === 1) {
        members(packet, ["kind", "id", "kek"]);
        hexa(packet.get("id"), 8);
        b64(packet.get("kek"), 80, 80);
      } else if (packet.get("kind") === 3) {
        members(packet, ["kind", "kek"]);
        b64(packet.get("kek"), 32, 32);
      } else {
        members(packet, ["kind", "salt", "m", "t", "p", "kek"]);
        number(packet.get("kind"), 2, 2);
        hexa(packet.get("salt"), 16);
        b64(packet.get("kek"), 48, 48);
        const lanes = number(packet.get("p"), 1, 16);
        number(packet.get("m"), 8 * lanes, 1048576);
        number(packet.get("t"), 1, 64);
      }
    }
  }
}

async function readCard(text) {
  need(string(text).startsWith("tdbcard1:"), "not a card");
  const data = b64(text.slice(9), 141, 165165);
  const taker = new Taker(data, "a card");
  need(taker.number(1) === 1, "a card of another version");
  need(BigInt("0x" + hexOf(taker.take(8))) <= MAX_TIME, "a number is out of its bounds");
  const card = { key: taker.take(32), actors: new Map() };
  const encryptionKey = taker.take(32);
  const tls = taker.number(1);
  need(tls === 0 || tls === 32, "tls is neither empty nor 32 bytes");
  taker.take(tls);
  card.name = taker.text(0, 128);
  const keys = [];
  for (let count = number(taker.number(2), 0, 1024); count > 0; count--) {
    const key = taker.take(32);
    keys.push(key);
    card.actors.set(hexOf(key), taker.text(1, 128));
  }
  const signature = taker.take(64);
  need(taker.rest.length === 0, "bytes behind the card");
  await checkSignature(card.key, joined(label32("thingdb/1/card"), data.subarray(0, -64)), signature);
  checkEncryptionKey(encryptionKey);
  const names = keys.map(hexOf);
  need(names.every((key, at) => at === 0 || names[at - 1] < key), "actors are not in ascending order");
  keys.forEach(checkKey);
  card.fingerprint = hexOf(sha256(card.key));
  return card;
}

/** A signed note of a node: a checkpoint, or a heads note. */
class Note {
  constructor(text, prefix = "thingdb.node/") {
    const length = utf8(string(text)).length;
    need(1 <= length && length <= 65536, "a note of another length");
    const end = text.indexOf("\n\n");
    need(end >= 0 && text.length > end + 2 && text.endsWith("\n"), "not a signed note");
    this.text = text.slice(0, end);
    const lines = this.text.split("\n");
    need(lines.length >= 3, "not a checkpoint");
    need(lines[0].startsWith(prefix), "a note with another name");
    this.origin = hexOf(hexa(lines[0].slice(prefix.length), 16));
    this.name = `thingdb.node/${this.origin}`;
    need(/^(0|[1-9][0-9]{0,15})$/.test(lines[1]), "a size in another spelling, or too large");
    this.size = number(Number(lines[1]), 0, MAX_SAFE);
    this.root = b64(lines[2], 32, 32);
    if (prefix === "thingdb.node/") {
      need(this.size > 0 || same(this.root, EMPTY_TREE), "an empty ledger with another root");
      lines.slice(3).forEach((line) => plain(line, 1, 65536));
    } else {
      need(lines.length === 4 && lines[3].startsWith("ledger "), "not a heads note");
      this.ledger = b64(lines[3].slice(7), 32, 32);
      need((this.size === 0) === same(this.root, EMPTY), "the map of nothing and a ledger of something");
      need((this.size === 0) === same(this.ledger, EMPTY_TREE), "an empty ledger with another root");
    }
    this.signatures = text.slice(end + 2, -1).split("\n").map(Note.signature);
    need(this.signatures.length <= 64, "too many signatures");
  }

  static signature(line) {
    need(line.startsWith("\u2014 "), "not a signature line");
    const space = line.lastIndexOf(" ");
    const name = line.slice(2, Math.max(space, 2));
    need(space > 2 && !/[\p{White_Space}+]/u.test(name) && !hasControl(name), "not the name of a key");
    return { name, line, value: b64(line.slice(space + 1), 5, 65536) };
  }

  own(key) {
    const id = sha256(utf8(this.name), Uint8Array.of(0x0a, 1), key).subarray(0, 4);
    return this.signatures.filter(({ name, value }) => name === this.name && same(value.subarray(0, 4), id));
  }

  async verify(key) {
    need(this.origin === hexOf(sha256(key)).slice(0, 32), "the note of another node");
    const own = this.own(key);
    need(own.length === 1 && own[0].value.length === 68, "not signed once by its node");
    await checkSignature(key, utf8(this.text + "\n"), own[0].value.subarray(4));
  }

  /** What is timestamped: the note with the line of its node alone. */
  imprint(key) {
    return hexOf(sha256(utf8(`${this.text}\n\n${this.own(key)[0].line}\n`)));
  }
}

// The heads of all things: a Merkle map. The bits of a thing's key are the way from the
// root.

const EMPTY = new Uint8Array(32);
const LEAF_DEPTH = 40;
const MAX_HEADS = 262144;

function inner(left, right) {
  const [isLeft, isRight] = [left, right].map((side) => !same(side, EMPTY));
  if (isLeft && isRight) return nodeOf(left, right);
  if (isLeft) return sha256(Uint8Array.of(2, 0), left);
  return isRight ? sha256(Uint8Array.of(2, 1), right) : EMPTY;
}

const bitOf = (key, depth) => (key[depth >> 3] >> (7 - (depth & 7))) & 1;

/** What the heads note says of a thing: how many entries it has, and its heads. */
class Heads {
  constructor(value, thing) {
    need(value instanceof Map, "heads is no object");
    const isThere = value.has("count") || value.has("heads");
    members(value, isThere ? ["note", "count", "heads"] : ["note"], isThere ? ["path"] : ["path", "other"]);
    this.note = new Note(value.get("note"), "thingdb.heads/");
    this.count = 0;
    this.heads = [];
    const { siblings, end } = Heads.path(value);
    const name = utf8(thing);
    const key = sha256(utf8("thingdb/1/heads-key\0"), name);
    let [here, depth] = [EMPTY, end];
    if (isThere) {
      here = leafOf(joined(key, this.value(value, name)));
      depth = Math.max(depth, LEAF_DEPTH);
    } else if (value.has("other")) {
      const other = b64(value.get("other"), 64, 64);
      depth = Math.max(depth, LEAF_DEPTH);
      need(!same(other.subarray(0, 32), key), "the thing itself is said to be another one");
      for (let at = 0; at < depth; at++) need(bitOf(other, at) === bitOf(key, at), "a thing that does not stand there");
      here = leafOf(other);
    }
    for (let at = depth - 1; at >= 0; at--) {
      const sibling = siblings.get(at) ?? EMPTY;
      here = bitOf(key, at) ? inner(sibling, here) : inner(here, sibling);
    }
    need(same(here, this.note.root), "the path does not lead to the root of the heads note");
  }

  /** The siblings by their depth, and the depth behind the last one. */
  static path(value) {
    const path = value.has("path") ? b64(value.get("path"), 33, 256 * 33) : new Uint8Array(0);
    need(path.length % 33 === 0, "not a whole number of siblings");
    const siblings = new Map();
    let end = 0;
    for (let at = 0; at < path.length; at += 33) {
      need(path[at] >= end, "siblings that are not in ascending order");
      end = path[at] + 1;
      siblings.set(path[at], path.subarray(at + 1, at + 33));
    }
    need([...siblings.values()].every((sibling) => !same(sibling, EMPTY)), "an empty sibling");
    return { siblings, end };
  }

  value(value, name) {
    this.count = number(value.get("count"), 1, MAX_SAFE);
    const most = Math.min(this.count, MAX_HEADS);
    const heads = list(value.get("heads"), 1, most, "no heads, or too many").map((head) => hexa(head, 32));
    this.heads = heads.map(hexOf);
    need(this.heads.every((head, at) => at === 0 || this.heads[at - 1] < head), "heads are not in ascending order");
    const counts = [unsigned(name.length, 2), name, unsigned(this.count, 8), unsigned(heads.length, 8)];
    return sha256(utf8("thingdb/1/heads\0"), ...counts, ...heads);
  }
}

// The file.

function linesOf(data) {
  const lines = [];
  for (let start = 0; start < data.length; ) {
    // A file of line ends alone is nothing, however many they are.
    while (data[start] === 0x0a) start++;
    const found = data.indexOf(0x0a, start);
    const end = found < 0 ? data.length : found;
    const line = data.subarray(start, end > start && data[end - 1] === 0x0d ? end - 1 : end);
    if (line.length) lines.push(line);
    start = end + 1;
  }
  return lines;
}

function parseLine(line) {
  need(line.length <= MAX_LINE, "a line that is too long");
  const text = textOf(line);
  need(!text.startsWith("\ufeff"), "a byte order mark");
  return Json.parse(text);
}

function kindOf(value) {
  if (!(value instanceof Map)) return "entry";
  if (value.has("thingdb_proof")) return "first";
  if (value.has("thingdb_proof_end")) return "last";
  if (value.has("timestamp")) return "timestamp";
  return value.has("receipt") ? "receipt" : "entry";
}

function readSubject(subject) {
  need(subject instanceof Map, "subject is no object");
  const kind = subject.get("kind");
  members(subject, ["kind", "thing", ...(kind === "range" ? ["from", "to"] : [])]);
  need(["history", "range", "entries", "absent"].includes(kind), "a kind that is none");
  const read = { kind, thing: plain(string(subject.get("thing")), 1, 512), from: 1, to: MAX_SAFE };
  if (kind === "range") {
    read.from = number(subject.get("from"), 1, MAX_SAFE);
    read.to = number(subject.get("to"), read.from, MAX_SAFE);
  }
  return read;
}

/** How the entries of a file hang together. */
class Links {
  constructor(subject) {
    this.subject = subject;
    this.known = new Map();
    this.followed = new Set();
    this.outside = new Set();
  }

  take(entry) {
    const { subject, known, outside } = this;
    need(entry.thing === subject.thing, "an entry of another thing");
    need(!known.has(entry.name), "an entry that stands twice in the file");
    need(subject.from <= entry.seq && entry.seq <= subject.to, "a seq that is not in the range");
    const here = entry.prev.filter((id) => known.has(id));
    here.forEach((id) => this.followed.add(id));
    need(here.every((id) => known.get(id).time < entry.time), "a time that is not after that of a prev");
    need(!outside.has(entry.name), "an entry that stands behind one that follows it");
    entry.prev.filter((id) => !known.has(id)).forEach((id) => outside.add(id));
    need(outside.size <= MAX_OUTSIDE, "too many prev outside of the file");
    const greatest = Math.max(0, ...here.map((id) => known.get(id).seq));
    const isGreatestHere = greatest + 1 === entry.seq;
    const isWhole = here.length === entry.prev.length;
    need(greatest < entry.seq && (isGreatestHere || !isWhole), "a seq that does not follow");
    const mayBeAbsent = { history: false, range: entry.seq === subject.from || isGreatestHere, entries: true };
    need(isWhole || mayBeAbsent[subject.kind], "a prev that is not in the file");
    known.set(entry.name, { seq: entry.seq, time: entry.time });
  }
}

/** What the first line says of the node and its ledger. */
async function readFirst(first) {
  members(first, ["thingdb_proof", "subject", "card", "checkpoint"], ["earlier", "heads"]);
  number(first.get("thingdb_proof"), 1, 1);
  const subject = readSubject(first.get("subject"));
  const card = await readCard(first.get("card"));
  const ledger = new Note(first.get("checkpoint"));
  await ledger.verify(card.key);
  const imprints = new Map([[ledger.imprint(card.key), ledger.size]]);
  const notes = [ledger];
  const others = new Set(ledger.signatures.map(({ name }) => name));
  if (first.has("earlier")) {
    for (const earlier of list(first.get("earlier"), 1, 16, "not 1 to 16 earlier checkpoints")) {
      members(earlier, ["checkpoint"], ["proof"]);
      const note = new Note(earlier.get("checkpoint"));
      await note.verify(card.key);
      const path = earlier.has("proof") ? hashes(earlier.get("proof")) : [];
      checkConsistency(note.size, ledger.size, path, note.root, ledger.root);
      imprints.set(note.imprint(card.key), note.size);
      notes.push(note);
      note.signatures.forEach(({ name }) => others.add(name));
    }
  }
  let stated = null;
  if (first.has("heads")) {
    stated = new Heads(first.get("heads"), subject.thing);
    await stated.note.verify(card.key);
    const isSame = stated.note.size === ledger.size && same(stated.note.ledger, ledger.root);
    need(isSame, "a heads note of another ledger than the checkpoint");
  }
  const isAbsence = subject.kind === "absent";
  need(stated || !isAbsence, "nothing says that there is no such thing");
  need(!stated || (stated.count === 0) === isAbsence, "the heads note says otherwise of the thing");
  others.delete(ledger.name);
  return { subject, card, ledger, notes, imprints, stated, others: [...others] };
}

/**
 * An entry line; what is wrong with it is kept with it, so that the others are seen, too.
 * What follows one that is no entry has nothing to be linked to: that is not said again.
 */
async function readEntry(value, line, state) {
  const told = { line, problem: null, content: "withheld" };
  let entry;
  try {
    members(value, ["place", "entry"], ["gap", "cek"]);
    told.place = number(value.get("place"), 0, MAX_SAFE - 1);
    need(told.place >= state.tree.size, "a place that is not behind the one before");
    claim(told, value.get("entry"));
    entry = new Entry(value.get("entry"));
    Object.assign(told, { id: entry.name, seq: entry.seq, time: entry.timeText, prev: entry.prev });
    told.actor = hexOf(entry.actor);
    told.origin = hexOf(entry.origin);
    told.name = state.card.actors.get(told.actor) ?? null;
    if (!state.isBroken) {
      state.tree.fill(told.place, value.has("gap") ? hashes(value.get("gap")) : []);
      state.tree.push(0, leafOf(entry.id));
      state.links.take(entry);
    }
    told.content = entry.payload === null ? "withheld" : "sealed";
    need(!value.has("cek") || entry.payload !== null, "a cek without a payload");
  } catch (problem) {
    state.isBroken = true;
    return wrong(told, problem);
  }
  const check = async () => {
    await checkSignature(entry.actor, ...entry.signed);
    if (!value.has("cek")) return;
    Object.assign(told, await entry.open(b64(value.get("cek"), 32, 32)), { content: "shown" });
  };
  state.checks.push(check().catch((problem) => void wrong(told, problem)));
  return told;
}

/** What a line says of itself, to name it if it is no entry. */
function claim(told, line) {
  if (!(line instanceof Map)) return;
  if (Number.isSafeInteger(line.get("seq"))) told.seq = line.get("seq");
}

function wrong(told, problem) {
  if (!(problem instanceof Refused)) throw problem;
  told.problem ??= problem.message;
  return told;
}

/** How many entries are checked at once. */
const AT_ONCE = 512;

/**
 * What a file says. `ok` is whether all of it holds; `problems` are those that are
 * of no entry, `entries` have their own.
 *
 * @param {Uint8Array} data the bytes of the file
 * @param {(done: number, all: number) => Promise<void>} [tell] called now and then
 */
async function verifyProof(data, tell = async () => {}) {
  const found = { ok: false, problems: [], entries: [], timestamps: [], receipts: [], heads: [] };
  try {
    await readFile(data, found, tell);
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    found.problems.push(problem.message);
  }
  found.ok = found.problems.length === 0 && found.entries.every(({ problem }) => problem === null);
  return found;
}

async function readFile(data, found, tell) {
  const lines = linesOf(data);
  need(lines.length >= 2, "not a proof file, or one that was cut");
  const first = parseLine(lines[0]);
  need(kindOf(first) === "first", "a file that does not begin with the first line of a proof");
  const state = { tree: new Tree(), checks: [], isBroken: false, ...(await readFirst(first)) };
  Object.assign(found, { subject: state.subject, node: state.card.fingerprint, nodeName: state.card.name });
  Object.assign(found, { size: state.ledger.size, others: state.others, key: state.card.key });
  Object.assign(found, { notes: state.notes, headsNote: state.stated?.note });
  state.links = new Links(state.subject);
  const digests = lines.slice(0, -1).map((line) => sha256(line));
  let isInOrder = true;
  for (let at = 1; at < lines.length - 1; at++) {
    const told = { line: at + 1, problem: null, content: "withheld" };
    let value;
    try {
      value = parseLine(lines[at]);
    } catch (problem) {
      state.isBroken = true;
      found.entries.push(wrong(told, problem));
      continue;
    }
    const kind = kindOf(value);
    if (kind === "timestamp" && found.entries.length === 0 && found.receipts.length === 0) {
      found.timestamps.push(readTimestamp(value, state));
      continue;
    }
    if (kind === "receipt") {
      found.receipts.push(await readReceipt(value, found, state));
      need(found.receipts.length <= MAX_RECEIPTS, "too many receipts");
      continue;
    }
    isInOrder &&= kind === "entry" && found.receipts.length === 0;
    found.entries.push(await readEntry(value, at + 1, state));
    need(found.entries.length <= MAX_ENTRIES, "too many entries");
    if (state.checks.length >= AT_ONCE) {
      await Promise.all(state.checks.splice(0));
      await tell(at, lines.length);
    }
  }
  await Promise.all(state.checks);
  found.heads = found.entries.map(({ id }) => id).filter((id) => id && !state.links.followed.has(id));
  need(isInOrder, "lines that are not in their order");
  need(found.timestamps.length <= MAX_STAMPS, "too many timestamps");
  const isAbsence = state.subject.kind === "absent";
  need((found.entries.length === 0) === isAbsence, "entries of a thing that is not there, or none of one that is");
  readLast(parseLine(lines.at(-1)), found, state, digests);
}

function readTimestamp(value, state) {
  members(value, ["timestamp", "imprint"]);
  b64(value.get("timestamp"), 1, 65536);
  const imprint = hexOf(hexa(value.get("imprint"), 32));
  need(state.imprints.has(imprint), "a timestamp of no checkpoint of the file");
  return { imprint, size: state.imprints.get(imprint) };
}

/** What a node answered to an erasure record of the file. Whose key it is, it does not show. */
async function readReceipt(value, found, state) {
  members(value, ["receipt"]);
  const note = string(value.get("receipt"));
  const length = utf8(note).length;
  need(1 <= length && length <= 65536, "a receipt of another length");
  const end = note.indexOf("\n\n");
  need(end >= 0 && note.length > end + 2 && note.endsWith("\n"), "not a signed note");
  const text = note.slice(0, end);
  const lines = text.split("\n");
  const counts = /^(erased|held) (0|[1-9][0-9]{0,4}) of (0|[1-9][0-9]{0,4})$/.exec(lines[4] ?? "");
  need(counts, "a receipt that does not count");
  const [verdict, count, of] = [counts[1], Number(counts[2]), Number(counts[3])];
  need(lines.length === (verdict === "held" ? 6 : 5), "a receipt with other lines");
  const after = (line, head) => {
    need(line.startsWith(head), "a receipt with other lines");
    return line.slice(head.length);
  };
  const origin = after(lines[0], "thingdb.receipt/");
  const key = hexa(after(lines[1], "node "), 32);
  const record = hexOf(hexa(after(lines[2], "record "), 32));
  const time = after(lines[3], "time ");
  parseTime(time);
  const fingerprint = sha256(key);
  need(same(hexa(origin, 16), fingerprint.slice(0, 16)), "a receipt with the key of another node");
  need((verdict === "held" ? 1 : 0) <= count && count <= of && of <= 65536, "counts that do not go together");
  const reason = verdict === "held" ? plain(after(lines[5], "reason "), 1, 1024) : null;
  const signatures = note.slice(end + 2, -1);
  need(!signatures.includes("\n"), "a receipt that is not signed once");
  const { name, value: signature } = Note.signature(signatures);
  const id = sha256(utf8(`thingdb.node/${origin}`), Uint8Array.of(10, 1), key).slice(0, 4);
  const isOwn = name === `thingdb.node/${origin}` && same(signature.slice(0, 4), id) && signature.length === 68;
  need(isOwn, "not signed by its node");
  await checkSignature(key, utf8(`${text}\n`), signature.slice(4));
  need(state.links.known.has(record), "a receipt for an erasure that is not in the file");
  const node = hexOf(fingerprint);
  const isSame = (other) => other.node === node && other.record === record;
  need(!found.receipts.some(isSame), "a second receipt of a node for one erasure");
  return { record, node, time, verdict, count, of, reason };
}

function readLast(last, found, state, digests) {
  need(kindOf(last) === "last", "the file is cut: its last line is missing");
  members(last, ["thingdb_proof_end", "entries", "digest"], ["gap"]);
  number(last.get("thingdb_proof_end"), 1, 1);
  need(number(last.get("entries"), 0, MAX_ENTRIES) === found.entries.length, "another number of entries");
  need(same(hexa(last.get("digest"), 32), sha256(...digests)), "another digest: a line was changed, added or taken away");
  // The tree lacks the leaves of lines that are no entries; that is said at the entries.
  if (found.entries.some(({ problem }) => problem !== null)) return;
  need(state.tree.size <= state.ledger.size, "a place that is not in the ledger");
  state.tree.fill(state.ledger.size, last.has("gap") ? hashes(last.get("gap")) : []);
  need(same(state.tree.root(), state.ledger.root), "the places do not lead to the root of the checkpoint");
  if (state.stated) found.complete = complete(found, state);
  new Erasures(state.card).settle(found.entries);
}

/** What the heads note says of the thing, if it fits the entries. */
function complete(found, { stated, links }) {
  const isHistory = found.subject.kind === "history";
  const count = found.entries.length;
  need(isHistory ? count === stated.count : count <= stated.count, "the thing has more entries");
  need(found.entries.every(({ seq }) => seq <= stated.count), "the thing has fewer entries");
  const isFollowed = (head) => links.followed.has(head) || links.outside.has(head);
  need(!stated.heads.some(isFollowed), "a head that another entry follows");
  const isSame = [...found.heads].sort().join() === stated.heads.join();
  need(isSame || count < stated.count, "the thing has other heads");
  const signers = new Set(stated.note.signatures.map(({ name }) => name));
  signers.delete(stated.note.name);
  return { entries: stated.count, heads: stated.heads.length, others: signers.size };
}
