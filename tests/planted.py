"""Secrets of every kind, made up at run time, and the ways in which logs spell them."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

alnum = string.ascii_letters + string.digits
lower_hex = "0123456789abcdef"
base64_alphabet = alnum + "+/"
url_alphabet = alnum + "_-"


@dataclass(frozen=True)
class Secret:
    """`text` is what a log holds; `needles` are the parts that must not be found anywhere afterwards."""

    kind: str
    text: str
    needles: tuple[str, ...]


Make = Callable[[random.Random], Secret]


def chars(rng: random.Random, alphabet: str, n: int) -> str:
    """`n` random characters with a digit and a letter among them, as tokens have."""
    made = [rng.choice(alphabet) for _ in range(n)]
    made[n // 2], made[n // 2 + 1] = "7", "a"
    return "".join(made)


def token(kind: str, prefix: str, n: int, alphabet: str = alnum, *, before: str = "", after: str = "") -> Make:
    def make(rng: random.Random) -> Secret:
        body = chars(rng, alphabet, n)
        return Secret(kind, f"{before}{prefix}{body}{after}", (body,))

    return make


def aws_access_key(rng: random.Random) -> Secret:
    body = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
    return Secret("aws-access-key", rng.choice(["AKIA", "ASIA"]) + body, (body,))


def private_key(label: str) -> Make:
    def make(rng: random.Random) -> Secret:
        rows = ["".join(rng.choice(base64_alphabet) for _ in range(64)) for _ in range(12)]
        rows.append("".join(rng.choice(base64_alphabet) for _ in range(22)) + "==")
        return Secret(
            "private-key", "\n".join([f"-----BEGIN {label}-----", *rows, f"-----END {label}-----"]), tuple(rows)
        )

    return make


def jwt(rng: random.Random) -> Secret:
    claims = {"sub": chars(rng, alnum, 12), "iat": rng.randrange(10**9)}
    parts = [
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in ({"alg": "HS256"}, claims)
    ]
    signature = chars(rng, url_alphabet, 43)
    return Secret("jwt", ".".join([*parts, signature]), (parts[1], signature))


def basic(rng: random.Random) -> Secret:
    encoded = base64.b64encode(f"admin:{chars(rng, alnum, 14)}".encode()).decode()
    return Secret("basic-authorization", f"Authorization: Basic {encoded}", (encoded.rstrip("="),))


def url_password(rng: random.Random) -> Secret:
    password = chars(rng, alnum, 5) + rng.choice(["!$&", "p@ss", "%40x", ""]) + chars(rng, alnum, 5)
    scheme = rng.choice(["postgresql+psycopg", "https", "redis", "amqp", "mongodb+srv"])
    return Secret("url-password", f"{scheme}://svc:{password}@db.internal:5432/app", (password,))


def sendgrid(rng: random.Random) -> Secret:
    first, second = chars(rng, url_alphabet, 22), chars(rng, url_alphabet, 43)
    return Secret("sendgrid-key", f"SG.{first}.{second}", (first, second))


MAKERS: tuple[Make, ...] = (
    token("openai-key", "sk-proj-", 120, url_alphabet),
    token("openai-key", "sk-", 48),
    token("anthropic-key", "sk-ant-api03-", 95, url_alphabet),
    token("openrouter-key", "sk-or-v1-", 64, lower_hex),
    token("github-token", "ghp_", 36),
    token("github-token", "gho_", 60),
    token("github-token", "github_pat_", 82, alnum + "_"),
    token("gitlab-token", "glpat-", 20, url_alphabet),
    token("gitlab-token", "glpat-", 40, url_alphabet, after=".01.abcdefg12"),
    token("slack-token", f"xoxb-{10**11}-{10**12}-", 24),
    token("slack-token", "xapp-1-", 40),
    token("slack-webhook", "T0000000/B0000000/", 24, before="https://hooks.slack.com/services/"),
    token("stripe-key", "sk_live_", 24),
    token("stripe-key", "rk_live_", 99),
    token("huggingface-token", "hf_", 34),
    token("npm-token", "npm_", 36),
    token("npm-token", "", 36, lower_hex, before="//registry.example.com/:_authToken="),
    token("pypi-token", "pypi-AgEIcHlwaS5vcmc", 120, url_alphabet),
    token("google-api-key", "AIza", 35, url_alphabet),
    token("google-oauth", "ya29.", 80, url_alphabet),
    aws_access_key,
    token("aws-secret-key", "", 40, base64_alphabet, before="AWS_SECRET_ACCESS_KEY="),
    token("aws-session-token", "", 200, base64_alphabet, before='aws_session_token = "', after='"'),
    token(
        "azure-storage-key", "", 86, base64_alphabet, before="DefaultEndpointsProtocol=https;AccountKey=", after="=="
    ),
    token("azure-sas", "", 43, before="https://x.blob.core.windows.net/c?sv=2024&sig=", after="%3D"),
    private_key("RSA PRIVATE KEY"),
    private_key("OPENSSH PRIVATE KEY"),
    private_key("PRIVATE KEY"),
    jwt,
    token("bearer-token", "", 40, url_alphabet, before="Authorization: Bearer "),
    token("bearer-token", "", 32, lower_hex, before="curl -H 'authorization: bearer ", after="'"),
    basic,
    token("api-key-header", "", 40, before="x-api-key: "),
    token("authorization-header", "", 40, lower_hex, before="Authorization: token "),
    url_password,
    token("url-token", "", 40, before="https://api.example.com/v1?user=3&access_token=", after="&page=2"),
    sendgrid,
    token("digitalocean-token", "dop_v1_", 64, lower_hex),
    token("vault-token", "hvs.", 90, url_alphabet),
    token("groq-key", "gsk_", 52),
)


def secrets(n: int, seed: int = 7) -> Iterator[Secret]:
    """`n` secrets, all kinds in turn."""
    rng = random.Random(seed)
    for i in range(n):
        yield MAKERS[i % len(MAKERS)](rng)
