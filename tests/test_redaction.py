"""Secrets in logs: replaced by a mark before anything is stored, and nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from planted import MAKERS, Secret, secrets
from reading import CORPUS
from served import served
from test_embedding_service import DIM, Service, serve

from api.app import create_app
from components.contracts import Event, Record
from components.errors import SourceError
from components.pipeline import Pipeline
from components.redact import Redactor, _literals
from components.secret_rules import RULES
from components.settings import DatasetSettings, LoadSettings, PrivacySettings, Settings
from components.sources.cleaning import clean_extra
from components.sources.files import FileSource
from components.sources.records import RecordMaker
from flows.artifacts import load_rows, total_load

# --- one text ---------------------------------------------------------------------------------------------------------


def nested(text: str) -> str:
    return json.dumps({"command": json.dumps({"body": text})})


SPELLINGS: dict[str, Callable[[str], str]] = {
    "alone": lambda text: text,
    "in prose": lambda text: f"Use the key {text}, then go on.",
    "quoted": lambda text: f'KEY = "{text}"',
    "exported": lambda text: f"export TOKEN={text}; make",
    "as JSON": lambda text: json.dumps({"value": text}),
    "as JSON in JSON": nested,
    "after an escaped line end": lambda text: f"a\\n{text}\\nb",
    "after Windows line ends": lambda text: f"a\r\n{text}\r\nb".replace("\n", "\r\n").replace("\r\r", "\r"),
    "in colour": lambda text: f"\x1b[32m{text}\x1b[0m",
    "in Markdown": lambda text: f"| key | `{text}` |",
    "after letters that are not ASCII": lambda text: f"Schlüssel für später → {text} ✓",
    "far behind": lambda text: "word " * 40_000 + text,
    "numbered": lambda text: "\n".join(f"{n:6}\t{line}" for n, line in enumerate(text.split("\n"), 1)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_part_of_a_secret_is_left_however_it_is_spelled(spelling: str) -> None:
    for secret in secrets(2 * len(MAKERS)):
        redacted = Redactor().redact(SPELLINGS[spelling](secret.text))
        assert not [needle for needle in secret.needles if needle in redacted], (secret, redacted)
        assert f"[redacted: {secret.kind}]" in redacted, (secret, redacted)


def test_the_text_around_a_secret_stays() -> None:
    for secret in secrets(len(MAKERS)):
        redacted = Redactor().redact(f"before this {secret.text} after that")
        assert redacted.startswith("before this ")
        assert redacted.endswith(" after that")


def test_a_redacted_text_is_not_redacted_again() -> None:
    for secret in secrets(len(MAKERS)):
        once = Redactor().redact(f"see {secret.text} there")
        assert Redactor().redact(once) == once


def test_a_private_key_without_its_end_is_redacted_as_far_as_it_goes() -> None:
    for secret in secrets(200):
        if secret.kind == "private-key":
            cut = secret.text[: len(secret.text) * 2 // 3]
            redacted = Redactor().redact(f"cat key\n{cut}")
            assert not [needle for needle in secret.needles if needle in redacted]


def test_the_key_of_a_value_counts() -> None:
    value = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYKEYKEYKEY7"
    redacted = Redactor().redact_values({"env": [{"aws_secret_access_key": value}], "digest": value})
    assert redacted == {"env": [{"aws_secret_access_key": "[redacted: aws-secret-key]"}], "digest": value}


NO_SECRETS = [
    "The bearer of this letter is authorised. Basic authentication, basic structures; Bearer authentication-required.",
    "Authorization: Bearer $TOKEN, Bearer {token}, Bearer <token>, 'Bearer ' + token, Bearer #{GitHub.token}",
    "git clone https://$USER:$PASSWORD@example.com/x https://user:{password}@host http://me:***@host postgres://u:${PW}@h",
    "sk-learn task-list risk-based-assessment-of-everything ask-me hf_model npm_config_registry npm_lifecycle_event",
    "export GH_TOKEN=github_pat_xxxx; /^sk-ant-[a-zA-Z0-9-_]{95,}$/ 'sk-ant-' + 'a'.repeat(95)",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "https://example.com:8080/path?page=2 mailto:a@b.org http://localhost:3000/@vite/client ssh://git@github.com/x/y.git",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f",
    "aws_secret_access_key = os.environ['AWS_SECRET_ACCESS_KEY']; AWS_SECURITY_TOKEN='testing'",
    "x-api-key: YOUR_API_KEY, authorization: required, session_token=abc",
    '{"@context": "https://schema.org", "url": "https://x.org", "logo": "https://y.org/a:b@2x.png"}',
    "eyJ is how JSON begins in base64; session=eyJ0ZXN0aW5nIjo0Mn0.aR0RxQ.4kHl_pEqM6QGbhK0Ah1Dr7mAR1E",
    "AKIA ASIA AKIA1234 in ASIA2024SUMMITREPORTS2025 and MAKIAVELLIAN",
]


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_only_resembles_a_secret_stays(text: str) -> None:
    assert Redactor().redact(text) == text


@pytest.mark.slow
def test_hostile_texts_take_linear_time() -> None:
    """Each literal, repeated and with what may follow it, in a process that may use so much CPU: 20 times what it needs."""
    code = (
        "import resource\n"
        "from components.redact import Redactor, _literals\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (300, 300))\n"
        "for literal in [*_literals(), '://', '://a:', '://a:b@', '-----BEGIN PRIVATE KEY-----']:\n"
        "    for rest in ('', 'a', 'A1', ' ', '\\\\', '-', '.', 'a' * 70 + '!', 'x' * 16):\n"
        "        part = literal + rest\n"
        "        Redactor().redact(part * (100_000 // len(part)))\n"
        "        Redactor().redact(literal + (rest or 'a') * (100_000 // len(rest or 'a')))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_kind_of_secret_has_been_planted() -> None:
    """Kinds that a provider's prefix alone decides need no example each; all others do."""
    planted = {secret.kind for secret in secrets(len(MAKERS))}
    by_name = {
        "private-key",
        "jwt",
        "aws-secret-key",
        "bearer-token",
        "basic-authorization",
        "url-password",
        "url-token",
    }
    assert by_name <= planted
    assert planted <= {rule.kind for rule in RULES}
    assert len(_literals()) == len(set(_literals()))


# --- one record -------------------------------------------------------------------------------------------------------


def make(event: Event, **changes: Any) -> Record:
    from datetime import UTC

    maker = RecordMaker(key="a.jsonl", zone=UTC, max_text_chars=1_000_000, redactor=Redactor(), **changes)
    made = maker.record(event)
    assert isinstance(made, Record)
    return made


def test_a_secret_is_taken_out_of_text_type_run_and_extra() -> None:
    token = next(secrets(1)).text
    made = make(Event(0, 0, f"kind {token}", f"text {token}", run=f"run {token}", extra={token: [{"a": f"x {token}"}]}))
    assert token not in repr(made)
    assert made.extra == {
        "[redacted: openai-key]": [{"a": "x [redacted: openai-key]"}],
        "run": "run [redacted: openai-key]",
    }


def test_a_secret_where_a_long_text_is_cut_leaves_no_part_behind() -> None:
    from datetime import UTC

    token = next(secrets(1)).text
    maker = RecordMaker(key="a", zone=UTC, max_text_chars=100, redactor=Redactor())
    made = maker.record(Event(0, 0, "user", "x " * 40 + token))
    assert isinstance(made, Record)
    assert token[8:30] not in made.text


def test_records_without_secrets_keep_their_ids() -> None:
    from datetime import UTC

    event = Event(1, 2, "user", "nothing secret here, " * 5, extra={"tool": "ls"})
    plain = RecordMaker(key="a.jsonl", zone=UTC, max_text_chars=1_000_000).record(event)
    assert make(event) == plain
    assert make(event).former_id == ""


def test_extra_that_json_can_not_spell_is_redacted_too() -> None:
    token = next(secrets(1)).text
    assert token not in str(clean_extra({"a": {1, token}, "b": [f"\ud800 {token}"], 3: object()}, Redactor()))


# --- everything that is stored, published, shown or sent -----------------------------------------------------------------


def jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def items(rows: list[Any]) -> str:
    """As `jsonl`, in the generic format: each item has its iteration."""
    return jsonl([{"iteration": 1, **row} for row in rows])


def plant(folder: Path, planted: list[Secret]) -> None:
    """Logs of several formats that hold all these secrets, each where another format or nesting has it."""
    folder.mkdir(parents=True)
    groups = [planted[i::8] for i in range(8)]
    spell = list(SPELLINGS.values())[:-2]
    spelled = [[spell[i % len(spell)](one.text) for i, one in enumerate(group)] for group in groups]
    (folder / "generic.jsonl").write_text(items([{"text": text, "note": "plain"} for text in spelled[0]]))
    extras = [{"text": f"step {i}", "meta": {"deep": [{"env": text}]}} for i, text in enumerate(spelled[1])]
    (folder / "extra.jsonl").write_text(items(extras))
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "bash", "arguments": json.dumps({"command": text})}}
        for i, text in enumerate(spelled[2])
    ]
    chat: list[Any] = [{"role": "user", "content": "go"}]
    for call, text in zip(calls, spelled[2], strict=True):
        chat += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": f"done: {text}"},
        ]
    (folder / "chat.json").write_text(json.dumps({"messages": chat}))
    (folder / "requests.jsonl").write_text(
        jsonl([{"messages": chat[: 2 * n + 1], "metadata": {"auth": spelled[3][n]}} for n in range(len(spelled[3]))])
    )
    base = {
        "sessionId": "s",
        "version": "2.0",
        "cwd": "/w",
        "timestamp": "2026-01-01T00:00:00Z",
        "userType": "external",
    }
    claude: list[Any] = []
    for i, text in enumerate(spelled[4]):
        said = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"t{i}", "content": text}]}
        claude.append(
            {**base, "type": "user", "uuid": f"u{i}", "parentUuid": None, "message": said, "toolUseResult": text}
        )
        call = {"type": "tool_use", "id": f"t{i}", "name": "Bash", "input": {"command": text}}
        answer = {"role": "assistant", "id": f"m{i}", "model": "m", "content": [call]}
        claude.append({**base, "type": "assistant", "uuid": f"a{i}", "parentUuid": f"u{i}", "message": answer})
    (folder / "claude.jsonl").write_text(jsonl(claude))
    rows = ["text,iteration", *('"' + text.replace('"', '""') + f'",{i}' for i, text in enumerate(spelled[5]))]
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    stamped = [f"2026-01-01 10:00:{i % 60:02} INFO {text}" for i, text in enumerate(spelled[6])]
    (folder / "plain.log").write_text("\n".join(stamped) + "\n")
    broken = [
        *['{"text": "whole", "iteration": 1}'] * 9,
        *('{"text": "' + text.replace('"', "'") for text in spelled[7]),
        '{"text": "whole", "iteration": 2}',  # a record that is cut waits until something follows it
    ]
    (folder / "broken.jsonl").write_text("\n".join(one.replace("\n", "\\n").replace("\r", "") for one in broken) + "\n")
    (folder / "numbers.jsonl").write_text(
        jsonl([{"text": "a", "iteration": 1}, *({"text": t, "iteration": t} for t in spelled[7])])
    )


def stored_bytes(home: Path) -> Iterator[tuple[str, bytes]]:
    """All that a home holds, packed files unpacked."""
    for path in sorted(home.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()
            if path.suffix == ".parquet":
                yield str(path), repr(pq.read_table(path).to_pylist()).encode()


def left(planted: list[Secret], where: str, text: str) -> list[tuple[str, str, str]]:
    return [(secret.kind, where, needle) for secret in planted for needle in secret.needles if needle in text]


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    server = serve(service)
    yield service
    server.shutdown()
    server.server_close()


def settings_for(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(home=tmp_path / "home", model="hash://16", load=LoadSettings(quiet_s=0), **changes)


@pytest.mark.slow
def test_of_two_hundred_planted_secrets_none_is_stored_published_shown_or_sent(
    tmp_path: Path, service: Service
) -> None:
    planted = list(secrets(200))
    plant(tmp_path / "logs", planted)
    settings = settings_for(tmp_path).model_copy(
        update={"model": f"openai://tiny?base_url={service.url}/v1&dimensions={DIM}"}
    )
    with Pipeline(settings) as pipeline:
        report = pipeline.load([tmp_path / "logs"])
        assert (report.sources.failed, report.sources.not_ready) == (0, 0), report.problems
        assert report.defects >= 20
        pipeline.index()
        found = [
            *left(planted, "report", json.dumps(asdict(report)) + str(load_rows(report))),
            *left(planted, "defects", json.dumps(pipeline.store.defects.rows(1))),
        ]
        ids = [stored.record.id for batch in pipeline.store.records.stream(1, *range(4)) for stored in batch]
    assert len(ids) > 150
    for name, content in stored_bytes(settings.home):
        found += left(planted, name, content.decode("utf-8", "replace"))
    for _, body in service.seen:
        found += left(planted, "request", json.dumps(body, ensure_ascii=False) + str(body["input"]))
    with served(create_app(settings)) as client:
        rows = ",".join(map(str, range(len(ids))))
        pages = ["/datasets", "/health", "/metrics", "/map/default/current.json", "/map/default/snapshot.json"]
        pages += [f"/map/default/records?rows={row}" for row in rows.split(",")]
        pages += [f"/datasets/default/records/{id}" for id in ids]
        answers = [client.get(page) for page in pages]
        assert sum(answer.status_code == 200 for answer in answers) > len(ids)
        for answer in answers:
            found += left(planted, str(answer.url), answer.text)
    assert found == []
    assert report.redacted.keys() >= {"private-key", "jwt", "github-token", "url-password", "bearer-token"}
    assert set(report.redacted_by_source) >= {
        "generic.jsonl",
        "extra.jsonl",
        "chat.json",
        "claude.jsonl",
        "broken.jsonl",
    }
    by_kind = sum((Counter(kinds) for kinds in report.redacted_by_source.values()), Counter[str]())
    assert by_kind == report.redacted
    assert {f"redacted: {kind}" for kind in report.redacted} <= {row["Metric"] for row in load_rows(report)}
    assert total_load([report, report]).redacted["jwt"] == 2 * report.redacted["jwt"]


def test_redaction_can_be_switched_off_for_all_or_for_one_dataset(tmp_path: Path) -> None:
    token = next(secrets(1)).text
    (tmp_path / "a.jsonl").write_text(items([{"text": f"the key {token}"}]))
    cases = [
        (PrivacySettings(redact=False), None, True),
        (PrivacySettings(redact=True), False, True),
        (PrivacySettings(redact=False), True, False),
    ]
    for n, (privacy, own, is_kept) in enumerate(cases):
        datasets = {"default": DatasetSettings(redact=own)}
        with Pipeline(settings_for(tmp_path / str(n), privacy=privacy, datasets=datasets)) as pipeline:
            report = pipeline.load([tmp_path / "a.jsonl"])
            texts = [stored.record.text for batch in pipeline.store.records.stream(1, *range(4)) for stored in batch]
        assert any(token in text for text in texts) == is_kept
        assert report.redacted == ({} if is_kept else {"openai-key": 1})


def test_a_log_that_was_loaded_unredacted_and_is_read_again_gives_no_second_records(tmp_path: Path) -> None:
    token = next(secrets(1)).text
    log = tmp_path / "a.jsonl"
    rows = [{"text": "first"}, {"text": f"the key {token}"}, {"text": "last"}]
    log.write_text(items(rows))
    with Pipeline(settings_for(tmp_path, privacy=PrivacySettings(redact=False))) as pipeline:
        pipeline.load([log])
        pipeline.index()
    with Pipeline(settings_for(tmp_path)) as pipeline:
        with log.open("a") as appended:
            appended.write(items([{"text": f"again {token}"}]))
        report = pipeline.load()
        assert (report.records.new, report.records.superseded, report.redacted) == (1, 0, {"openai-key": 1})
        log.write_text(items([*rows[:2], {"text": "another end"}]))  # rewritten: read again from its start
        os.utime(log, (1, 1))
        report = pipeline.load()
        assert (report.records.new, report.records.superseded) == (2, 1)
        pipeline.index()
        table = pq.read_table(pipeline.snapshot().logs_files[0].parent)
        texts = table["text"].to_pylist()
        assert sorted(texts) == sorted(
            ["again [redacted: openai-key]", "another end", "first", "last", "the key [redacted: openai-key]"]
        )
        assert all(check.ok for check in pipeline.verify())


def test_reading_twice_with_redaction_gives_the_same_records(tmp_path: Path) -> None:
    plant(tmp_path / "logs", list(secrets(80)))
    with Pipeline(settings_for(tmp_path)) as pipeline:
        first = pipeline.load([tmp_path / "logs"])
        for log in (tmp_path / "logs").iterdir():
            os.utime(log, (1, 1))
        again = pipeline.load(verify=True)
        assert (again.records.new, again.records.superseded) == (0, 0)
        assert first.records.new > 50
        assert all(check.ok for check in pipeline.verify())


@pytest.mark.corpus
def test_fewer_than_one_in_ten_thousand_real_records_is_redacted_falsely() -> None:
    """The real logs hold no live secrets, so whatever is redacted there is shown, to be looked at."""
    if not CORPUS.is_dir():
        pytest.skip("no corpus here")
    plain, redacting = (FileSource(LoadSettings(quiet_s=0), redact=redact) for redact in (False, True))
    n, hits = 0, []
    for locator in plain.discover([str(CORPUS)]).locators:
        try:
            batches = zip(plain.read(locator, None), redacting.read(locator, None), strict=True)
            for before, after in batches:
                n += len(before.records)
                pairs = zip(before.records, after.records, strict=True)
                hits += [(old.filename, old.text, new.text) for old, new in pairs if old[:8] != new[:8]]
        except SourceError:
            continue
    assert n > 20_000
    assert len(hits) < n / 10_000, hits
