"""The shapes of secrets: of tokens, keys and passwords, as their providers document them.

Where the detect-secrets project has an expression for a shape it is used, extended to the token's end, so that no rest
of a longer token stays.

Each expression takes linear time: logs are hostile input, and a text may be as long as a record can be. What repeats is
bounded, possessive, or can't begin inside of its own match (`_begins`).
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final

_REST: Final = r"[A-Za-z0-9_-]*+"
# between a name and its value, as headers, code, JSON and JSON within JSON write it
_IS: Final = r"\\*[\"'`]?\s{0,8}(?:[:=]|=>)\s{0,8}\\*[\"'`]?"
_PEM_GAP: Final = r"(?:[\s\"',+]|\\[nrt\"])*+(?:\d{1,6}[\t→|:]\s*+)?"  # line ends, also escaped, and line numbers
_PEM_HEADERS: Final = r"(?:(?:\s|\\[nr])*+[A-Z][A-Za-z-]{2,20}: [^\n\\]{1,100})*+"
_PEM_LINES: Final = rf"(?:{_PEM_GAP}[A-Za-z0-9+/=]{{16,}}+)++(?:{_PEM_GAP}[A-Za-z0-9+/=]{{1,15}}+(?![\w ]))?"


def _begins(prefix: str) -> str:
    """Matches the prefix where a token can begin: after no other token character, or after the escape of a character.

    Escapes are those of JSON, URLs and terminal colours. The prefix comes first, since `re` searches for literals fast.
    """
    begin = re.escape(prefix)
    escapes = (r"\\[bfnrt]", r"\\u[0-9A-Fa-f]{4}", r"%[0-9A-Fa-f]{2}", r"\[[0-9]m", r"[0-9]{2}m")
    after_escape = "|".join(f"(?<={escape}{begin})" for escape in escapes)
    return f"{begin}(?:(?<![A-Za-z0-9_-]{begin})|{after_escape})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of secret. `literals`: every text that holds such a secret contains one of them.

    `pattern` gives the expression; what its group `secret` matches is redacted if `is_secret` agrees.
    """

    kind: str
    literals: Sequence[str]
    pattern: Callable[[], str]
    is_secret: Callable[[str], bool] = bool
    flags: int = 0


def _shape(kind: str, *prefixes: str, rest: str, alone: bool = False) -> Rule:
    """A token that one of the prefixes begins; `alone`: a prefix that may be the end of a word has to begin one."""

    def pattern() -> str:
        begins = "|".join(_begins(prefix) if alone else re.escape(prefix) for prefix in prefixes)
        return f"(?P<secret>(?:{begins}){rest})" if len(prefixes) > 1 else f"(?P<secret>{begins}{rest})"

    return Rule(kind=kind, literals=prefixes, pattern=pattern)


def _known(kind: str, plugin: str, *literals: str, last: int | None = None, flags: int = 0) -> Rule:
    """A token whose shape detect-secrets knows: the plugin's expressions up to `last`, up to the token's end."""

    def pattern() -> str:
        module, _, name = plugin.partition(":")
        detector = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
        shapes = "|".join(f"(?:{known.pattern})" for known in list(detector.denylist)[:last])
        return rf"(?P<secret>(?:{shapes}){_REST})"

    return Rule(kind=kind, literals=literals, pattern=pattern, flags=flags)


def _value(kind: str, *literals: str, after: str, value: str, is_secret: Callable[[str], bool] = bool) -> Rule:
    """What follows a name or scheme, whatever its case."""
    return Rule(
        kind=kind,
        literals=literals,
        pattern=lambda: rf"(?i:{after})(?P<secret>{value})",
        is_secret=is_secret,
    )


def _has_digit(text: str) -> bool:
    """Prose continues with words where a header has a token."""
    return any(character.isdigit() for character in text)


def _is_user_and_password(text: str) -> bool:
    try:
        decoded = b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (Base64Error, ValueError):
        return False
    return ":" in decoded and decoded.isprintable()


def _is_no_template(text: str) -> bool:
    """Documents and code write `$PASSWORD`, `{password}`, `%s` or `***` where a password goes."""
    return not re.fullmatch(r"[$%{].*|[*.xX_-]+|.*\$\{.*|.*\{\{.*|\.\.\..*", text)


# in this order: what is sure comes before what depends on a name beside it
RULES: Final[Sequence[Rule]] = (
    Rule(
        kind="private-key",
        literals=("PRIVATE KEY", "Private-Lines:"),
        pattern=lambda: (
            r"(?P<secret>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?=[\s\S]{0,400}?[A-Za-z0-9+/=]{32})"
            r"(?:(?:(?!-----BEGIN )[\s\S]){0,32000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            rf"|{_PEM_HEADERS}{_PEM_LINES})"
            rf"|Private-Lines: \d{{1,4}}{_PEM_LINES})"
        ),
    ),
    _known("github-token", "github_token:GitHubTokenDetector", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _shape("github-token", "github_pat_", rest=r"[A-Za-z0-9_]{36,}+"),
    _shape(
        "gitlab-token",
        *("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "glrtr-", "glcbt-", "glimt-", "glptt-", "glagent-", "gloas-"),
        rest=r"[A-Za-z0-9_-]{20,}+(?:\.[a-z0-9]{2}\.[a-z0-9]{7,9})?",
    ),
    _shape("anthropic-key", "sk-ant-", rest=r"[A-Za-z0-9_-]{20,}+"),
    _shape("openrouter-key", "sk-or-", rest=r"[A-Za-z0-9_-]{20,}+"),
    _shape("langfuse-key", "sk-lf-", rest=r"[A-Za-z0-9-]{20,}+"),
    _shape("openai-key", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-", rest=r"[A-Za-z0-9_-]{20,}+"),
    _shape("openai-key", "sk-", rest=r"[A-Za-z0-9]{32,}+", alone=True),
    _shape("groq-key", "gsk_", rest=r"[A-Za-z0-9]{40,}+"),
    _shape("xai-key", "xai-", rest=r"[A-Za-z0-9]{60,}+"),
    _shape("perplexity-key", "pplx-", rest=r"[A-Za-z0-9]{40,}+"),
    _shape("nvidia-key", "nvapi-", rest=r"[A-Za-z0-9_-]{60,}+"),
    _shape("replicate-token", "r8_", rest=r"[A-Za-z0-9]{37,}+", alone=True),
    _shape("langsmith-key", "lsv2_pt_", "lsv2_sk_", rest=r"[a-f0-9]{32}_[a-f0-9]{10}"),
    _shape("tavily-key", "tvly-", rest=r"(?:dev-|prod-)?[A-Za-z0-9]{24,}+"),
    _shape("pinecone-key", "pcsk_", rest=r"[A-Za-z0-9_]{40,}+"),
    _shape("huggingface-token", "hf_", rest=r"[A-Za-z0-9]{34,}+", alone=True),
    _shape("huggingface-token", "api_org_", rest=r"[A-Za-z0-9]{34,}+"),
    _shape("google-api-key", "AIza", rest=r"[A-Za-z0-9_-]{35}"),
    _shape("google-oauth", "ya29.", rest=r"[A-Za-z0-9_-]{20,}+", alone=True),
    _shape("google-oauth", "GOCSPX-", rest=r"[A-Za-z0-9_-]{28}"),
    _shape("aws-access-key", "AKIA", "ASIA", "ABIA", "ACCA", "A3T", rest=r"[0-9A-Z]{16,17}(?![A-Za-z0-9])", alone=True),
    _value(
        "aws-secret-key",
        *("ecret_access_key", "ecretAccessKey", "SECRET_ACCESS_KEY", "ecretaccesskey", "ecret access key"),
        after=rf"secret[_ ]?access[_ ]?key{_IS}",
        value=r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
    ),
    _value(
        "aws-session-token",
        *("ession_token", "essionToken", "SESSION_TOKEN", "ecurity_token", "SECURITY_TOKEN"),
        after=rf"(?:session|security)_?token{_IS}",
        value=r"[A-Za-z0-9/+=]{100,}+",
    ),
    _known("azure-storage-key", "azure_storage_key:AzureStorageKeyDetector", "AccountKey="),
    _value("azure-shared-key", "SharedAccessKey=", after="SharedAccessKey=", value=r"[A-Za-z0-9+/]{43}="),
    _value("azure-sas", "sig=", after=r"[?&]sig=", value=r"[A-Za-z0-9%+/]{43,60}(?:%3D|=)"),
    Rule(
        kind="azure-client-secret",
        literals=("Q~",),
        pattern=lambda: (
            r"(?<![A-Za-z0-9_~.-])(?P<secret>[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34})(?![A-Za-z0-9_~.-])"
        ),
    ),
    _known("slack-token", "slack:SlackDetector", "xox", last=1, flags=re.IGNORECASE),
    _shape("slack-token", "xapp-", "xoxe-", "xoxe.xoxb-", "xoxe.xoxp-", rest=r"\d[A-Za-z0-9-]{20,}+"),
    _value(
        "slack-webhook",
        "hooks.slack.com",
        after=r"hooks\.slack\.com/(?:services|workflows|triggers)/",
        value=r"[A-Za-z0-9_+/-]{20,}+",
    ),
    _known("stripe-key", "stripe:StripeDetector", "sk_live_", "rk_live_"),
    _shape("stripe-key", "sk_test_", "rk_test_", "sk_prod_", "rk_prod_", rest=r"[A-Za-z0-9]{16,}+"),
    _shape("stripe-webhook-secret", "whsec_", rest=r"[A-Za-z0-9+/]{32,}+={0,2}"),
    _known("pypi-token", "pypi_token:PypiTokenDetector", "pypi-Ag"),
    _shape("npm-token", "npm_", rest=r"[A-Za-z0-9]{36,}+", alone=True),
    _value("npm-token", "_authToken", after=rf"_authToken{_IS}", value=r"[A-Za-z0-9_/+=-]{20,}+"),
    _known("sendgrid-key", "sendgrid:SendGridDetector", "SG."),
    _known("square-secret", "square_oauth:SquareOAuthDetector", "sq0csp-"),
    Rule(
        kind="telegram-token",
        literals=(":AA",),
        pattern=lambda: r"(?<![0-9])(?P<secret>\d{8,10}:AA[0-9A-Za-z_-]{33})(?![0-9A-Za-z_-])",
    ),
    _shape("digitalocean-token", "dop_v1_", "doo_v1_", "dor_v1_", rest=r"[a-f0-9]{64}"),
    _shape("shopify-token", "shpat_", "shpca_", "shppa_", "shpss_", rest=r"[A-Fa-f0-9]{32}"),
    _shape("docker-token", "dckr_pat_", "dckr_oat_", rest=r"[A-Za-z0-9_-]{20,}+"),
    _shape("sentry-token", "sntrys_", rest=r"[A-Za-z0-9+/=_-]{60,}+"),
    _shape("sentry-token", "sntryu_", rest=r"[a-f0-9]{64}"),
    _shape("vault-token", "hvs.", "hvb.", "hvr.", rest=r"[A-Za-z0-9_-]{24,}+", alone=True),
    _shape("databricks-token", "dapi", rest=r"[a-f0-9]{32}(?:-\d)?(?![A-Za-z0-9])", alone=True),
    _shape("atlassian-token", "ATATT3", rest=r"[A-Za-z0-9_=-]{60,}+"),
    _shape("figma-token", "figd_", rest=r"[A-Za-z0-9_-]{36,}+"),
    _shape("linear-key", "lin_api_", rest=r"[A-Za-z0-9]{36,}+"),
    _shape("notion-token", "ntn_", rest=r"[A-Za-z0-9]{40,}+", alone=True),
    _shape("supabase-token", "sbp_", rest=r"[a-f0-9]{40}"),
    _shape("newrelic-key", "NRAK-", rest=r"[A-Z0-9]{27}"),
    _shape("postman-key", "PMAK-", rest=r"[a-f0-9]{24}-[a-f0-9]{34}"),
    _shape("age-key", "AGE-SECRET-KEY-1", rest=r"[A-Z0-9]{58}"),
    Rule(
        kind="jwt",
        literals=("eyJ",),
        pattern=lambda: (
            rf"(?P<secret>{_begins('eyJ')}[A-Za-z0-9_-]{{10,}}+\.[A-Za-z0-9_-]{{10,}}+"
            r"(?:\.[A-Za-z0-9_-]{0,}+){1,3})"
        ),
    ),
    _value(
        "basic-authorization",
        *("asic ", "ASIC "),
        after=r"basic ",
        value=r"[A-Za-z0-9+/]{6,}+={0,2}",
        is_secret=_is_user_and_password,
    ),
    _value(
        "bearer-token",
        *("earer", "EARER"),
        after=r"bearer(?:[\s:]{1,8}|%20)",
        value=r"[A-Za-z0-9._~+/=-]{16,}+",
        is_secret=_has_digit,
    ),
    _value(
        "authorization-header",
        *("uthorization", "UTHORIZATION"),
        after=rf"authorization{_IS}(?:basic|token|apikey|api-key|key|digest)\s{{1,8}}",
        value=r"[A-Za-z0-9._~+/=-]{16,}+",
        is_secret=_has_digit,
    ),
    _value(
        "api-key-header",
        *("-api-key", "-Api-Key", "-API-Key", "-API-KEY", "-auth-token", "-Auth-Token", "-AUTH-TOKEN"),
        after=rf"x-(?:[a-z]{{1,12}}-)?(?:api-key|auth-token){_IS}",
        value=r"[A-Za-z0-9._~+/=-]{16,}+",
        is_secret=_has_digit,
    ),
    _value(
        "url-token",
        *("access_token=", "api_key=", "apikey=", "api-key=", "auth_token=", "client_secret=", "refresh_token="),
        after=r"[?&](?:access_token|api_?key|api-key|auth_token|client_secret|refresh_token)=",
        value=r"[A-Za-z0-9._~%+/-]{16,}+",
        is_secret=_has_digit,
    ),
    Rule(
        kind="url-password",
        literals=("://", r":\/\/"),
        pattern=lambda: r":(?:\\?/){2}[^\s/?#:\"'`<>\\]{0,256}:(?P<secret>[^\s/?#\"'`<>\\]{1,256})@(?=[A-Za-z0-9\[])",
        is_secret=_is_no_template,
    ),
)
