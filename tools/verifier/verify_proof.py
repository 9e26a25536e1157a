#!/usr/bin/env python3
"""Checks proof files of ThingDB: a second reader, written from docs/format.md.

    verify_proof.py --fingerprint HEX FILE...      a verdict a file, as JSON, a line each

HEX are the 64 digits of the node that you trust. Without it `ok` says only that
a file is consistent with itself.

Timestamps are listed and not checked, unless `--tsa-root` names the certificates of the
authorities that you trust: then `openssl ts` says of each whether it holds.

The verdict lists every entry: who signed it (`name` is what the card in the file calls
the key), when, and what it says, as `text`, or as `base64` where it is no UTF-8. What a
record in the file says was erased has `erased_by`, the id of the record. Of a file that
does not hold nothing is listed.

It needs Python 3.9 or later, no network and no database. Content that is shown
is opened with the package `cryptography`; without it, it is told as not opened.
Exit code 0 if every file holds, 4 if one does not.

It reads a whole file into memory: `thingdb verify-proof` does not.
"""

import argparse
import base64
import binascii
import datetime
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tempfile
import unicodedata

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
except ImportError:
    AESGCM = None

MAX_SAFE = 2**53 - 1
MAX_TIME = 253402300799999999
MAX_LINE = 25165824


class Refused(Exception):
    """Something is not as the format says."""


def need(holds, what):
    if not holds:
        raise Refused(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def label32(text):
    return text.encode().ljust(32, b"\0")


# Ed25519 (RFC 8032), strict. Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, T = XY/Z.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, p):
    q = NEUTRAL
    while n:
        if n & 1:
            q = add(q, p)
        p, n = add(p, p), n >> 1
    return q


def same(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def point(data):
    """The point of 32 bytes in their canonical encoding."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    need(y < P, "a point is not canonical")
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, P - 2, P) % P
    x = pow(x, (P + 3) // 8, P)
    if (x * x * v - u) % P:
        x = x * ROOT % P
    need((x * x * v - u) % P == 0, "not a point of the curve")
    need(x or not sign, "a point is not canonical")
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


Y = 4 * pow(5, P - 2, P) % P
BASE = point(Y.to_bytes(32, "little"))


def remembered(function):
    """Files that are near each other have the same keys and signatures."""
    known = {}

    def ask(*args):
        if args not in known:
            try:
                known[args] = (function(*args), None)
            except Refused as problem:
                known[args] = (None, problem)
        value, problem = known[args]
        if problem:
            raise problem
        return value

    return ask


@remembered
def key_point(key):
    """The point of an acceptable key."""
    p = point(key)
    need(not same(times(8, p), NEUTRAL), "a key of small order")
    need(same(times(L, p), NEUTRAL), "a key outside the prime-order subgroup")
    return p


@remembered
def check_signature(key, message, signature):
    a, r = key_point(key), signature[:32]
    s = int.from_bytes(signature[32:], "little")
    need(s < L, "S of a signature is not canonical")
    need(not same(times(8, point(r)), NEUTRAL), "R of a signature is of small order")
    h = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    found = add(times(s, BASE), times(L - h, a))
    z = pow(found[2], P - 2, P)
    x, y = found[0] * z % P, found[1] * z % P
    need((y | (x & 1) << 255).to_bytes(32, "little") == r, "a signature does not match")


def check_encryption_key(key):
    u = int.from_bytes(key, "little")
    small = {
        0,
        1,
        P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
    need(u < P and u not in small, "an encryption key that is not acceptable")


# The Merkle tree of RFC 9162.


def leaf(data):
    return sha256(b"\0", data)


def node(left, right):
    return sha256(b"\1", left, right)


def inclusion_root(hash_, index, size, path):
    need(index < size, "an index that is not in its tree")
    fn, sn = index, size - 1
    for sibling in path:
        need(sn > 0, "a path that is too long")
        if fn & 1 or fn == sn:
            hash_ = node(sibling, hash_)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            hash_ = node(hash_, sibling)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "a path that is too short")
    return hash_


def check_consistency(old, new, proof, old_root, new_root):
    need(old <= new, "a checkpoint of a larger ledger")
    if old == 0:
        return need(not proof and old_root == sha256(b""), "a proof from an empty ledger")
    if old == new:
        return need(not proof and old_root == new_root, "two ledgers of one size")
    proof = list(proof)
    if old & (old - 1) == 0:
        proof.insert(0, old_root)
    need(proof, "a consistency proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        need(sn > 0, "a consistency proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and fr == old_root and sr == new_root, "the ledger did not grow out of an earlier one")


def gap_subtrees(start, end):
    while start < end:
        height = (end - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        yield height
        start += 1 << height


class Tree:
    """A tree that grows at its right edge: (height, hash), the largest first."""

    def __init__(self):
        self.size, self.parts = 0, []

    def push(self, height, hash_):
        self.size += 1 << height
        while self.parts and self.parts[-1][0] == height:
            hash_, height = node(self.parts.pop()[1], hash_), height + 1
        self.parts.append((height, hash_))

    def fill(self, end, gap):
        heights = list(gap_subtrees(self.size, end))
        need(len(heights) == len(gap), "a gap has another number of hashes")
        for height, hash_ in zip(heights, gap):
            self.push(height, hash_)

    def root(self):
        if not self.parts:
            return sha256(b"")
        hash_ = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            hash_ = node(left, hash_)
        return hash_


# JSON with one meaning.


def pairs(found):
    members = dict(found)
    need(len(members) == len(found), "a member is there twice")
    return members


def integer(text):
    need("-" not in text, "a number with a sign")
    return int(text)


def refuse_number(_):
    raise Refused("a number that is no integer")


def parse(line):
    try:
        text = line.decode("utf-8")
        need(not text.startswith("\ufeff"), "a byte order mark")
        value = json.loads(
            text, object_pairs_hook=pairs, parse_int=integer, parse_float=refuse_number, parse_constant=refuse_number
        )
        # Half a surrogate pair is no character.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError) as problem:
        raise Refused(f"not JSON: {problem}")


def members(value, required, optional=()):
    need(isinstance(value, dict), "an object is expected")
    need(set(required) <= set(value), "a member is missing")
    need(set(value) <= set(required) | set(optional), "an unknown member")


def number(value, least, most):
    need(type(value) is int and least <= value <= most, "a number is out of its bounds")
    return value


def is_one(value):
    """The number 1: in Python `True` is equal to it."""
    return type(value) is int and value == 1


def string(value):
    need(isinstance(value, str), "a string is expected")
    return value


def hexa(value, count):
    need(re.fullmatch("[0-9a-f]*", string(value)) and len(value) == 2 * count, "not so many bytes in hex")
    return bytes.fromhex(value)


def b64(value, least, most):
    try:
        data = base64.b64decode(string(value).encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise Refused("not base64")
    need(base64.b64encode(data).decode() == value, "base64 in another spelling")
    need(least <= len(data) <= most, "base64 of another length")
    return data


def hashes(value):
    data = b64(value, 32, 128 * 32)
    need(len(data) % 32 == 0, "not a whole number of hashes")
    return [data[n : n + 32] for n in range(0, len(data), 32)]


def plain(text, least, most):
    need(least <= len(text.encode()) <= most, "a text of another length")
    need(not any(unicodedata.category(c) == "Cc" for c in text), "a control character")
    return text


# What entries, cards and checkpoints are.


def parse_time(text):
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z", string(text), re.ASCII)
    need(found, "not a time")
    try:
        time = datetime.datetime(*map(int, found.groups()))
    except ValueError:
        raise Refused("not a time")
    micros = (time - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
    return number(micros, 0, MAX_TIME)


def expand(key, info):
    return hmac.new(key, info + b"\1", hashlib.sha256).digest()


ENTRY = ["v", "id", "thing", "seq", "time", "origin", "actor", "prev", "suite", "data_hash", "payload_hash"]
ENTRY += ["payload_len", "sig"]


class Entry:
    def __init__(self, line):
        members(line, ENTRY, ["payload", "envelopes"])
        number(line["v"], 1, 1)
        self.thing = plain(string(line["thing"]), 1, 512)
        self.seq = number(line["seq"], 1, MAX_SAFE)
        self.time = parse_time(line["time"])
        self.origin, self.actor = hexa(line["origin"], 16), hexa(line["actor"], 32)
        self.suite = number(line["suite"], 1, 2)
        need(isinstance(line["prev"], list) and len(line["prev"]) <= 32, "prev is no list of at most 32")
        self.prev = [hexa(prev, 32) for prev in line["prev"]]
        need(all(a < b for a, b in zip(self.prev, self.prev[1:])), "prev is not in ascending order")
        need((self.seq == 1) == (not self.prev), "seq 1 and no prev go together")
        self.data_hash = hexa(line["data_hash"], 32)
        payload_hash = hexa(line["payload_hash"], 32)
        payload_len = number(line["payload_len"], 23, 16777216)
        thing = self.thing.encode()
        self.header = b"".join(
            [bytes([1, self.suite]), len(thing).to_bytes(2, "big"), thing]
            + [self.seq.to_bytes(8, "big"), self.time.to_bytes(8, "big"), self.origin, self.actor]
            + [bytes([len(self.prev)])]
            + self.prev
            + [self.data_hash, payload_hash, payload_len.to_bytes(4, "big")]
        )
        self.id = sha256(b"thingdb/1/entry\0", self.header)
        need(hexa(line["id"], 32) == self.id, "id is not that of the header")
        self.payload = None
        if "payload" in line:
            self.payload = b64(line["payload"], payload_len, payload_len)
            need(sha256(self.payload) == payload_hash, "payload_hash is not that of the payload")
        if "envelopes" in line:
            check_envelopes(line["envelopes"])
        self.sig = line["sig"]

    def verify(self):
        sig = self.sig
        need(isinstance(sig, dict), "sig is no object")
        if is_one(sig.get("kind")):
            members(sig, ["kind", "value"])
            return check_signature(self.actor, label32("thingdb/1/sign-entry") + self.header, b64(sig["value"], 64, 64))
        members(sig, ["kind", "value", "index", "size", "path"])
        number(sig["kind"], 2, 2)
        size = number(sig["size"], 2, 65536)
        data = b64(sig["path"], 0, 512)
        need(len(data) % 32 == 0, "not a whole number of hashes")
        path = [data[n : n + 32] for n in range(0, len(data), 32)]
        root = inclusion_root(leaf(self.id), number(sig["index"], 0, size - 1), size, path)
        message = label32("thingdb/1/sign-batch") + size.to_bytes(8, "big") + root
        check_signature(self.actor, message, b64(sig["value"], 64, 64))

    def told(self, names):
        """What is said of an entry; its time and name are what its writer and the card say."""
        time = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=self.time)
        told = {"seq": self.seq, "time": time.isoformat(timespec="microseconds") + "Z", "actor": self.actor.hex()}
        return {**told, "name": names.get(self.actor), "prev": [prev.hex() for prev in self.prev]}

    def open(self, cek):
        """The content, and the hash of the whole body, if the package for it is there."""
        if AESGCM is None:
            return None
        suite = bytes([self.suite])
        cipher = AESGCM if self.suite == 1 else ChaCha20Poly1305
        try:
            key = expand(cek, b"thingdb/1/payload" + suite)
            body = cipher(key).decrypt(bytes(12), self.payload, b"thingdb/1/body")
        except InvalidTag:
            raise Refused("the payload does not open with this cek")
        commitment = expand(cek, b"thingdb/1/commitment" + suite)
        need(hmac.new(commitment, body, hashlib.sha256).digest() == self.data_hash, "data_hash is not that of the body")
        return {"body": sha256(body).hex(), **read_body(body)}


def read_body(body):
    """The members of a body that people read."""
    rest = body

    def take(count):
        nonlocal rest
        need(len(rest) >= count, "a body that ends early")
        taken, rest = rest[:count], rest[count:]
        return taken

    def text(least, most, pattern=None):
        data = take(take(1)[0])
        try:
            found = plain(data.decode(), least, most)
        except UnicodeDecodeError:
            raise Refused("not UTF-8")
        need(pattern is None or re.fullmatch(pattern, found), "not a media type")
        return found

    encoding = take(1)[0]
    need(encoding <= 1, "a newer encoding")
    read = {"signed_as": text(1, 128), "action": text(1, 64), "media_type": text(1, 255, "[ -~]+")}
    if encoding == 1:
        text(1, 255, "[ -~]+")
        take(int.from_bytes(take(4), "big"))
    read["erased"] = erased_in(read, rest)
    try:
        return {**read, "text": rest.decode()}
    except UnicodeDecodeError:
        return {**read, "base64": base64.b64encode(rest).decode()}


def erased_in(read, data):
    """The ids that a body lists if it is an erasure record; none if it cannot be read as one."""
    if (read["action"], read["media_type"]) != ("erase", "application/vnd.thingdb.erasure+json"):
        return []
    try:
        need(b"\n" not in data, "a line feed")
        record = parse(data.removesuffix(b"\r"))
        members(record, ["v", "erased", "reason"], ["basis"])
        number(record["v"], 1, 1)
        plain(string(record["reason"]), 1, 1024)
        need("basis" not in record or re.fullmatch("[A-Za-z0-9._:-]{1,64}", string(record["basis"])), "not a basis")
        need(isinstance(record["erased"], list) and 1 <= len(record["erased"]) <= 65536, "not 1 to 65536 ids")
        erased = [hexa(one, 32) for one in record["erased"]]
        need(all(a < b for a, b in zip(erased, erased[1:])), "ids that are not in ascending order")
        return erased
    except Refused:
        return []


class Erasures:
    """Which entries without their content a record in the file covers."""

    def __init__(self, card):
        self.node, self.actors = sha256(card.key)[:16], {key for key, _ in card.actors}
        self.stubs, self.ahead, self.count, self.erased = {}, {}, 0, {}

    def may(self, by, actor, origin):
        return by == actor or (origin == self.node and by in self.actors)

    def stub(self, entry):
        for record, by in self.ahead.pop(entry.id, []):
            if self.may(by, entry.actor, entry.origin):
                self.erased[entry.id] = record
                return
        self.stubs[entry.id] = (entry.actor, entry.origin)

    def record(self, entry, listed):
        for one in listed:
            if one in self.stubs:
                if self.may(entry.actor, *self.stubs[one]):
                    del self.stubs[one]
                    self.erased[one] = entry.id
            elif one not in self.erased and self.count < 2**20:
                self.count += 1
                self.ahead.setdefault(one, []).append((entry.id, entry.actor))

    def settle(self, told):
        for entry in told:
            record = self.erased.get(bytes.fromhex(entry["id"]))
            if record:
                entry.update(content="erased", erased_by=record.hex())


def check_envelopes(envelopes):
    need(isinstance(envelopes, list) and 1 <= len(envelopes) <= 8, "not 1 to 8 envelopes")
    for envelope in envelopes:
        members(envelope, ["from", "cek", "recipients"])
        hexa(envelope["from"], 16), b64(envelope["cek"], 48, 48)
        packets = envelope["recipients"]
        need(isinstance(packets, list) and 1 <= len(packets) <= 256, "not 1 to 256 recipients")
        for packet in packets:
            need(isinstance(packet, dict), "a recipient is no object")
            if is_one(packet.get("kind")):
                members(packet, ["kind", "id", "kek"])
                hexa(packet["id"], 8), b64(packet["kek"], 80, 80)
            elif not isinstance(packet.get("kind"), bool) and packet.get("kind") == 3:
                members(packet, ["kind", "kek"])
                number(packet["kind"], 3, 3), b64(packet["kek"], 32, 32)
            else:
                members(packet, ["kind", "salt", "m", "t", "p", "kek"])
                number(packet["kind"], 2, 2), hexa(packet["salt"], 16), b64(packet["kek"], 48, 48)
                lanes = number(packet["p"], 1, 16)
                number(packet["m"], 8 * lanes, 1048576), number(packet["t"], 1, 64)


class Card:
    def __init__(self, text):
        need(string(text).startswith("tdbcard1:"), "not a card")
        data = b64(text[9:], 141, 165165)
        rest = data

        def take(count):
            nonlocal rest
            need(len(rest) >= count, "a card that ends early")
            taken, rest = rest[:count], rest[count:]
            return taken

        def name(least):
            try:
                return plain(take(take(1)[0]).decode(), least, 128)
            except UnicodeDecodeError:
                raise Refused("not UTF-8")

        need(take(1) == b"\1", "a card of another version")
        number(int.from_bytes(take(8), "big"), 0, MAX_TIME)
        self.key, encryption_key = take(32), take(32)
        tls = take(1)[0]
        need(tls in (0, 32), "tls is neither empty nor 32 bytes")
        take(tls)
        self.name = name(0)
        count = number(int.from_bytes(take(2), "big"), 0, 1024)
        self.actors = [(take(32), name(1)) for _ in range(count)]
        signature = take(64)
        need(not rest, "bytes behind the card")
        check_signature(self.key, label32("thingdb/1/card") + data[:-64], signature)
        check_encryption_key(encryption_key)
        need(all(a[0] < b[0] for a, b in zip(self.actors, self.actors[1:])), "actors are not in ascending order")
        for key, _ in self.actors:
            key_point(key)


class Note:
    """A signed note of a node: a checkpoint, or a heads note."""

    def __init__(self, text, prefix="thingdb.node/"):
        self.note = string(text)
        need(1 <= len(self.note.encode()) <= 65536, "a note of another length")
        self.text, empty, signatures = self.note.partition("\n\n")
        need(empty and signatures.endswith("\n"), "not a signed note")
        lines = self.text.split("\n")
        need(len(lines) >= 3, "not a checkpoint")
        need(lines[0].startswith(prefix), "a note with another name")
        self.origin = hexa(lines[0][len(prefix) :], 16).hex()
        self.name = "thingdb.node/" + self.origin
        need(re.fullmatch("0|[1-9][0-9]{0,15}", lines[1]), "a size in another spelling, or too large")
        self.size = number(int(lines[1]), 0, MAX_SAFE)
        self.root = b64(lines[2], 32, 32)
        if prefix == "thingdb.node/":
            need(self.size or self.root == sha256(b""), "an empty ledger with another root")
            for line in lines[3:]:
                plain(line, 1, 65536)
        else:
            need(len(lines) == 4 and lines[3].startswith("ledger "), "not a heads note")
            self.ledger = b64(lines[3][7:], 32, 32)
            need((self.size == 0) == (self.root == EMPTY), "the map of nothing and a ledger of something")
            need((self.size == 0) == (self.ledger == sha256(b"")), "an empty ledger with another root")
        self.signatures = [self.signature(line) for line in signatures[:-1].split("\n")]
        need(len(self.signatures) <= 64, "too many signatures")

    @staticmethod
    def signature(line):
        need(line.startswith("\u2014 "), "not a signature line")
        name, space, value = line[2:].rpartition(" ")
        need(space and name and not re.search(r"[\s+]", name), "not the name of a key")
        need(not any(unicodedata.category(c) == "Cc" for c in name), "not the name of a key")
        return name, b64(value, 5, 65536)

    def verify(self, key):
        need(self.origin == sha256(key)[:16].hex(), "the note of another node")
        key_id = sha256(self.name.encode(), b"\n\1", key)[:4]
        own = [value[4:] for name, value in self.signatures if name == self.name and value[:4] == key_id]
        need(len(own) == 1 and len(own[0]) == 64, "not signed once by its node")
        check_signature(key, (self.text + "\n").encode(), own[0])

    def imprint(self, key):
        """What is timestamped: the hash of the note with the line of its node alone."""
        key_id = sha256(self.name.encode(), b"\n\1", key)[:4]
        own = [value for name, value in self.signatures if name == self.name and value[:4] == key_id]
        line = f"\u2014 {self.name} {base64.b64encode(own[0]).decode()}\n"
        return sha256(f"{self.text}\n\n{line}".encode())


class Receipt:
    """What a node answered to an erasure record. Whose key it is, it does not show."""

    def __init__(self, text):
        note = string(text)
        need(1 <= len(note.encode()) <= 65536, "a receipt of another length")
        self.text, empty, signatures = note.partition("\n\n")
        need(empty and signatures.endswith("\n"), "not a signed note")
        lines = self.text.split("\n")
        found = re.fullmatch("(erased|held) (0|[1-9][0-9]{0,4}) of (0|[1-9][0-9]{0,4})", lines[4] if lines[4:] else "")
        need(found, "a receipt that does not count")
        self.verdict, self.count, self.of = found[1], int(found[2]), int(found[3])
        need(len(lines) == (5 if self.verdict == "erased" else 6), "a receipt with other lines")
        heads = ["thingdb.receipt/", "node ", "record ", "time "]
        need(all(line.startswith(head) for line, head in zip(lines, heads)), "a receipt with other lines")
        origin, key, record, self.time = [line[len(head) :] for line, head in zip(lines, heads)]
        self.key, self.record = hexa(key, 32), hexa(record, 32)
        need(hexa(origin, 16) == sha256(self.key)[:16], "a receipt with the key of another node")
        parse_time(self.time)
        need((self.verdict == "held") <= self.count <= self.of <= 65536, "counts that do not go together")
        self.reason = None
        if self.verdict == "held":
            need(lines[5].startswith("reason "), "a hold without a reason")
            self.reason = plain(lines[5][7:], 1, 1024)
        need(signatures.count("\n") == 1, "a receipt that is not signed once")
        name, value = Note.signature(signatures[:-1])
        key_id = sha256(b"thingdb.node/", origin.encode(), b"\n\1", self.key)[:4]
        need(name == "thingdb.node/" + origin and value[:4] == key_id and len(value) == 68, "not signed by its node")
        check_signature(self.key, (self.text + "\n").encode(), value[4:])

    def told(self):
        counts = {"verdict": self.verdict, "count": self.count, "of": self.of, "reason": self.reason}
        return {"record": self.record.hex(), "node": sha256(self.key).hex(), "time": self.time, **counts}


# The heads of all things: a Merkle map. The bits of a thing's key are the way from the root.

EMPTY = bytes(32)
LEAF_DEPTH = 40


def inner(left, right):
    if left == EMPTY and right == EMPTY:
        return EMPTY
    if right == EMPTY:
        return sha256(b"\2\0", left)
    return sha256(b"\2\1", right) if left == EMPTY else sha256(b"\1", left, right)


def bit(key, depth):
    return key[depth // 8] >> (7 - depth % 8) & 1


class Heads:
    """What the heads note says of a thing: how many entries it has, and its heads."""

    def __init__(self, value, thing):
        need(isinstance(value, dict), "heads is no object")
        is_there = "count" in value or "heads" in value
        members(value, ["note"] + (["count", "heads"] if is_there else []), ["path"] + ([] if is_there else ["other"]))
        self.note = Note(value["note"], "thingdb.heads/")
        self.count, self.heads = 0, []
        path = b64(value["path"], 33, 256 * 33) if "path" in value else b""
        need(len(path) % 33 == 0, "not a whole number of siblings")
        siblings = {path[n]: path[n + 1 : n + 33] for n in range(0, len(path), 33)}
        depths = list(path[::33])
        need(all(a < b for a, b in zip(depths, depths[1:])), "siblings that are not in ascending order")
        need(EMPTY not in siblings.values(), "an empty sibling")
        name = thing.encode()
        key, depth = sha256(b"thingdb/1/heads-key\0", name), depths[-1] + 1 if depths else 0
        here = EMPTY
        if is_there:
            self.count = number(value["count"], 1, MAX_SAFE)
            need(isinstance(value["heads"], list), "heads is no list")
            self.heads = [hexa(head, 32) for head in value["heads"]]
            need(1 <= len(self.heads) <= min(self.count, 262144), "no heads, or too many")
            need(all(a < b for a, b in zip(self.heads, self.heads[1:])), "heads are not in ascending order")
            counts = [len(name).to_bytes(2, "big"), name, self.count.to_bytes(8, "big")]
            said = sha256(b"thingdb/1/heads\0", *counts, len(self.heads).to_bytes(8, "big"), *self.heads)
            here, depth = sha256(b"\0", key, said), max(depth, LEAF_DEPTH)
        elif "other" in value:
            other, depth = b64(value["other"], 64, 64), max(depth, LEAF_DEPTH)
            need(other[:32] != key, "the thing itself is said to be another one")
            need(all(bit(other, n) == bit(key, n) for n in range(depth)), "a thing that does not stand there")
            here = sha256(b"\0", other)
        for n in reversed(range(depth)):
            sibling = siblings.get(n, EMPTY)
            here = inner(sibling, here) if bit(key, n) else inner(here, sibling)
        need(here == self.note.root, "the path does not lead to the root of the heads note")


# The file.


def kind_of(value):
    if isinstance(value, dict) and "thingdb_proof" in value:
        return "first"
    if isinstance(value, dict) and "thingdb_proof_end" in value:
        return "last"
    if isinstance(value, dict) and "timestamp" in value:
        return "timestamp"
    return "receipt" if isinstance(value, dict) and "receipt" in value else "entry"


def check_subject(subject):
    need(isinstance(subject, dict), "subject is no object")
    is_range = subject.get("kind") == "range"
    members(subject, ["kind", "thing"] + (["from", "to"] if is_range else []))
    need(subject["kind"] in ("history", "range", "entries", "absent"), "a kind that is none")
    plain(string(subject["thing"]), 1, 512)
    if is_range:
        number(subject["to"], number(subject["from"], 1, MAX_SAFE), MAX_SAFE)


def verify(data, fingerprint=None, tsa_root=None):
    """What the file says; Refused if it does not hold."""
    # A file of line ends alone is nothing, however many they are.
    lines = (found[0] for found in re.finditer(rb"[^\n]+", data))
    lines = [line[:-1] if line.endswith(b"\r") else line for line in lines if line != b"\r"]
    need(len(lines) >= 2 and all(len(line) <= MAX_LINE for line in lines), "not a proof file")
    values = [parse(line) for line in lines]
    first, last = values[0], values[-1]
    kinds = [kind_of(value) for value in values]
    stamps, answers = kinds.count("timestamp"), kinds.count("receipt")
    count = len(values) - stamps - answers - 2
    order = ["first"] + ["timestamp"] * stamps + ["entry"] * count + ["receipt"] * answers + ["last"]
    need(kinds == order, "lines that are not in their order")
    need(count <= 262144, "too many entries")
    need(stamps <= 16, "too many timestamps")
    need(answers <= 1024, "too many receipts")
    members(first, ["thingdb_proof", "subject", "card", "checkpoint"], ["earlier", "heads"])
    number(first["thingdb_proof"], 1, 1)
    subject = first["subject"]
    check_subject(subject)
    card, ledger = Card(first["card"]), Note(first["checkpoint"])
    need(fingerprint in (None, sha256(card.key).hex()), "the file is of another node")
    ledger.verify(card.key)
    imprints = {ledger.imprint(card.key): ledger.size}
    if "earlier" in first:
        need(isinstance(first["earlier"], list) and 1 <= len(first["earlier"]) <= 16, "not 1 to 16 earlier checkpoints")
        for earlier in first["earlier"]:
            members(earlier, ["checkpoint"], ["proof"])
            note = Note(earlier["checkpoint"])
            note.verify(card.key)
            proof = hashes(earlier["proof"]) if "proof" in earlier else []
            check_consistency(note.size, ledger.size, proof, note.root, ledger.root)
            imprints[note.imprint(card.key)] = note.size
    stated = None
    if "heads" in first:
        stated = Heads(first["heads"], subject["thing"])
        stated.note.verify(card.key)
        is_same = (stated.note.size, stated.note.ledger) == (ledger.size, ledger.root)
        need(is_same, "a heads note of another ledger than the checkpoint")
    is_absence = subject["kind"] == "absent"
    need(stated or not is_absence, "nothing says that there is no such thing")
    need(not stated or (stated.count == 0) == is_absence, "the heads note says otherwise of the thing")
    need((count == 0) == is_absence, "entries of a thing that is not there, or none of one that is")
    timestamps = []
    for value in values[1 : 1 + stamps]:
        members(value, ["timestamp", "imprint"])
        token, imprint = b64(value["timestamp"], 1, 65536), hexa(value["imprint"], 32)
        need(imprint in imprints, "a timestamp of no checkpoint of the file")
        timestamps.append((imprints[imprint], imprint, token))
    tree, known, followed, outside, shown = Tree(), {}, set(), set(), []
    names, erasures = dict(card.actors), Erasures(card)
    for value in values[1 + stamps : 1 + stamps + count]:
        members(value, ["place", "entry"], ["gap", "cek"])
        place = number(value["place"], 0, MAX_SAFE - 1)
        need(place >= tree.size, "a place that is not behind the one before")
        entry = Entry(value["entry"])
        tree.fill(place, hashes(value["gap"]) if "gap" in value else [])
        tree.push(0, leaf(entry.id))
        entry.verify()
        check_links(entry, subject, known, followed, outside)
        state, body = "withheld" if entry.payload is None else "sealed", None
        if "cek" in value:
            cek = b64(value["cek"], 32, 32)
            need(entry.payload is not None, "a cek without a payload")
            body = entry.open(cek)
            state = "shown" if AESGCM else "not opened"
            erasures.record(entry, body.pop("erased") if body else [])
        if entry.payload is None:
            erasures.stub(entry)
        told = {"place": place, "id": entry.id.hex(), **entry.told(names), "content": state}
        shown.append({**told, **(body or {})})
    receipts = []
    for value in values[1 + stamps + count : -1]:
        members(value, ["receipt"])
        receipts.append(Receipt(value["receipt"]))
        need(receipts[-1].record in known, "a receipt for an erasure that is not in the file")
    need(len({(one.key, one.record) for one in receipts}) == answers, "a second receipt of a node for one erasure")
    members(last, ["thingdb_proof_end", "entries", "digest"], ["gap"])
    number(last["thingdb_proof_end"], 1, 1)
    need(number(last["entries"], 0, 262144) == len(shown), "another number of entries")
    need(hexa(last["digest"], 32) == sha256(*map(sha256, lines[:-1])), "another digest")
    need(tree.size <= ledger.size, "a place that is not in the ledger")
    tree.fill(ledger.size, hashes(last["gap"]) if "gap" in last else [])
    need(tree.root() == ledger.root, "the places do not lead to the root of the checkpoint")
    erasures.settle(shown)
    heads = [entry["id"] for entry in shown if bytes.fromhex(entry["id"]) not in followed]
    complete = None
    if stated:
        is_history = subject["kind"] == "history"
        need(len(shown) == stated.count if is_history else len(shown) <= stated.count, "the thing has more entries")
        need(not shown or max(entry["seq"] for entry in shown) <= stated.count, "the thing has fewer entries")
        need(not (followed | outside) & set(stated.heads), "a head that another entry follows")
        is_same = sorted(heads) == [head.hex() for head in stated.heads]
        need(is_same or len(shown) < stated.count, "the thing has other heads")
        complete = {"entries": stated.count, "heads": len(stated.heads)}
    found = {"subject": subject, "node": sha256(card.key).hex(), "size": ledger.size, "heads": heads}
    told = {**found, "complete": complete, "entries": shown, "receipts": [one.told() for one in receipts]}
    return {**told, "timestamps": [told_of(stamp, tsa_root) for stamp in timestamps]}


def told_of(stamp, tsa_root):
    """A timestamp: `openssl ts` looks whether it is of the authority, if one is trusted."""
    size, imprint, token = stamp
    told = {"size": size, "imprint": imprint.hex(), "checked": False}
    if tsa_root is None:
        return told
    with tempfile.TemporaryDirectory() as place:
        file = os.path.join(place, "token")
        with open(file, "wb") as out:
            out.write(token)
        read = ["openssl", "ts", "-reply", "-token_in", "-in", file, "-text"]
        text = subprocess.run(read, capture_output=True).stdout.decode(errors="replace")
        time = re.search("^Time stamp: (.*)$", text, re.M)
        # The certificates that the token brings are those on the way. They are valid, or
        # not, at the time of the token, whenever somebody looks.
        command = ["openssl", "ts", "-verify", "-token_in", "-in", file, "-digest", imprint.hex(), "-CAfile", tsa_root]
        command += ["-attime", str(seconds(time[1] if time else ""))]
        holds = subprocess.run(command, capture_output=True).returncode == 0
    return {**told, "checked": True, "holds": holds, "time": time[1] if holds and time else None}


def seconds(text):
    """Since 1970, of a time as openssl writes it; 0 if it is none."""
    try:
        time = datetime.datetime.strptime(re.sub(r"\.\d+", "", text), "%b %d %H:%M:%S %Y GMT")
    except ValueError:
        return 0
    return (time - datetime.datetime(1970, 1, 1)) // datetime.timedelta(seconds=1)


def check_links(entry, subject, known, followed, outside):
    need(entry.thing == subject["thing"], "an entry of another thing")
    need(entry.id not in known, "an entry that stands twice in the file")
    low, high = subject.get("from", 1), subject.get("to", MAX_SAFE)
    need(low <= entry.seq <= high, "a seq that is not in the range")
    here = [known[prev] for prev in entry.prev if prev in known]
    followed.update(prev for prev in entry.prev if prev in known)
    need(all(time < entry.time for _, time in here), "a time that is not after that of a prev")
    need(entry.id not in outside, "an entry that stands behind one that follows it")
    outside.update(prev for prev in entry.prev if prev not in known)
    need(len(outside) <= 262144, "too many prev outside of the file")
    greatest = max((seq for seq, _ in here), default=0)
    is_greatest_here = greatest + 1 == entry.seq
    is_whole = len(here) == len(entry.prev)
    need(greatest < entry.seq and (is_greatest_here or not is_whole), "a seq that does not follow")
    may_be_absent = {"history": False, "range": entry.seq == low or is_greatest_here, "entries": True}
    need(is_whole or may_be_absent[subject["kind"]], "a prev that is not in the file")
    known[entry.id] = (entry.seq, entry.time)


def verdict(data, fingerprint=None, tsa_root=None):
    try:
        told = verify(data, fingerprint, tsa_root)
        if tsa_root is not None and not any(stamp["holds"] for stamp in told["timestamps"]):
            return {"ok": False, "problem": "no timestamp of an authority that you trust", **told}
        return {"ok": True, **told}
    except Refused as problem:
        return {"ok": False, "problem": str(problem)}


def main(args):
    if args == ["--lengths"]:
        # For tests: files on stdin, each behind its length in a line of its own.
        for line in sys.stdin.buffer:
            print(json.dumps(verdict(sys.stdin.buffer.read(int(line)))), flush=True)
        return 0
    parser = argparse.ArgumentParser(description="Checks proof files of ThingDB.")
    parser.add_argument("--fingerprint", metavar="HEX", help="64 hex digits of the node that you trust")
    parser.add_argument("--tsa-root", metavar="PEM", help="certificates of time-stamp authorities that you trust")
    parser.add_argument("files", nargs="+", metavar="FILE")
    asked = parser.parse_args(args)
    fingerprint = asked.fingerprint and asked.fingerprint.lower()
    if fingerprint is not None and not re.fullmatch("[0-9a-f]{64}", fingerprint):
        parser.error("--fingerprint needs 64 hex digits")
    holds = True
    for name in asked.files:
        with open(name, "rb") as file:
            found = verdict(file.read(), fingerprint, asked.tsa_root)
        holds = holds and found["ok"]
        print(json.dumps({"file": name, "trusted": bool(found["ok"] and fingerprint), **found}))
    return 0 if holds else 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
