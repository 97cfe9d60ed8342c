# Judges a document of `mintkeep keys attest` by the specifications alone: says "good", or fails.
import base64, hashlib, json, struct, sys
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_key(x, y):
    return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()).public_key()


def verify(key, signature, message):
    r, s = (int.from_bytes(part, "big") for part in signature)
    key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))


def thumbprint(jwk):
    text = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def taken(data, form):
    size = struct.calcsize(form)
    return struct.unpack(form, data[:size]), data[size:]


def sized(data):
    (length,), data = taken(data, ">H")
    return data[:length], data[length:]


def name(public):
    return b"\x00\x0b" + hashlib.sha256(public).digest()


def area(public):
    (kind, algorithm, attributes), rest = taken(public, ">HHI")
    policy, rest = sized(rest)
    (symmetric, scheme), rest = taken(rest, ">HH")
    if scheme != 0x10:
        (_, ), rest = taken(rest, ">H")
    (curve, kdf), rest = taken(rest, ">HH")
    x, rest = sized(rest)
    y, rest = sized(rest)
    assert (kind, algorithm, curve, rest) == (0x23, 0x0B, 3, b"")
    return attributes, x, y


def judge_tpm(document):
    attested, public, attestation_key = (decoded(document[name]) for name in ("attested", "public", "attestation_key"))
    (magic, kind), rest = taken(attested, ">IH")
    signer, rest = sized(rest)
    extra, rest = sized(rest)
    certified, _ = sized(rest[25:])
    assert (magic, kind) == (0xFF544347, 0x8017)
    assert extra == decoded(document["nonce"])
    assert certified == name(public)
    assert signer == name(struct.pack(">I", 0x4000000B) + name(attestation_key))
    attributes, x, y = area(public)
    assert attributes & 0x32 == 0x32 and not attributes & 0x10000
    assert (x.rjust(32, b"\0"), y.rjust(32, b"\0")) == (decoded(document["jwk"]["x"]), decoded(document["jwk"]["y"]))
    attributes, x, y = area(attestation_key)
    assert attributes & 0x50032 == 0x50032
    (_, _), rest = taken(decoded(document["signature"]), ">HH")
    r, rest = sized(rest)
    s, _ = sized(rest)
    verify(public_key(x, y), (r, s), attested)


def judge_pkcs11(document):
    unsigned = json.dumps(document | {"signature": ""}, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    signature, by = decoded(document["signature"]), document["signed_by"]
    key = public_key(decoded(by["x"]), decoded(by["y"]))
    verify(key, (signature[:32], signature[32:]), b"mintkeep attestation: " + unsigned.encode())


document = json.load(open(sys.argv[1]))
assert document["format"] == "mintkeep-attestation-1"
if "jwk" in document:
    assert document["kid"] == thumbprint(document["jwk"])
{"tpm2-certify": judge_tpm, "pkcs11-attributes": judge_pkcs11}[document["kind"]](document)
print("good")
