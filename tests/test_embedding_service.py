"""The embedder of OpenAI-compatible services against a real server on loopback that misbehaves on request."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_embedders import EmbedderContract

from components.embedders.hashing import hash_vector
from components.embedders.llama import LlamaEmbedder
from components.embedders.model_uri import open_embedder
from components.embedders.service import ServiceEmbedder, request_batches, retry_after_s
from components.errors import BadSetting, EmbeddingFailed, ServiceUnavailable
from components.settings import EmbedSettings

DIM = 16
SECRETS = ("sk-first-secret", "sk-second-secret")


def well_behaved(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    data = [
        {"object": "embedding", "index": i, "embedding": (3 * hash_vector(text, DIM)).tolist()}
        for i, text in enumerate(body["input"])
    ]
    return 200, {}, {"object": "list", "data": data, "usage": {"prompt_tokens": len(body["input"])}}


@dataclass
class Service:
    """A small embedding service; `answer` decides what it says, `seen` keeps (key, body) of each request."""

    answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]] = well_behaved
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: Any = field(default_factory=threading.Lock)
    url: str = ""

    def open(self, cache: Path, *, query: str = "", **settings: Any) -> ServiceEmbedder:
        opened = open_embedder(f"openai://tiny?base_url={self.url}/v1{query}", EmbedSettings(**settings), cache)
        assert isinstance(opened, ServiceEmbedder)
        return opened


def serve(service: Service) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with service.lock:
                service.seen.append((self.headers.get("Authorization", ""), body))
                service.at_once += 1
                service.most_at_once = max(service.most_at_once, service.at_once)
            try:
                status, headers, said = service.answer(body)
            finally:
                with service.lock:  # before the client can know, and sends the next one
                    service.at_once -= 1
            raw = said if isinstance(said, bytes) else json.dumps(said).encode()
            with suppress(OSError):  # the client gave up waiting
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    server = serve(service)
    yield service
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class TestService(EmbedderContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def running(cls) -> Iterator[None]:
        service = Service()
        server = serve(service)
        cls.uri = f"openai://tiny?base_url={service.url}/v1"
        yield
        server.shutdown()
        server.server_close()


def test_vectors_are_normalised_here_whatever_the_service_does(service: Service, cache: Path):
    vectors = service.open(cache).embed(["a", "b"]).vectors
    assert np.allclose(vectors, [hash_vector("a", DIM), hash_vector("b", DIM)], atol=1e-6)


def test_equal_texts_are_asked_and_paid_once(service: Service, cache: Path):
    answer = service.open(cache).embed(["a", "b", "a", "a"])
    assert [body["input"] for _, body in service.seen] == [["a", "b"]]
    assert answer.n_tokens == 2


def test_requests_are_bounded_and_run_in_parallel(service: Service, cache: Path):
    parallel = threading.Event()

    def answer(body: dict[str, Any]) -> Any:
        if service.at_once >= 2:
            parallel.set()
        parallel.wait(60)  # the first request, for the second one
        return well_behaved(body)

    service.answer = answer
    texts = [str(i) for i in range(20)]
    vectors = service.open(cache, query="&batch=2", connections=4).embed(texts).vectors
    assert np.allclose(vectors, [hash_vector(text, DIM) for text in texts], atol=1e-6)
    assert max(len(body["input"]) for _, body in service.seen) == 2
    assert 2 <= service.most_at_once <= 4


def test_keys_take_turns(service: Service, cache: Path):
    service.open(cache, query="&batch=1", api_keys=SECRETS, connections=1).embed(["a", "b", "c", "d"])
    assert [key for key, _ in service.seen] == [f"Bearer {key}" for key in SECRETS * 2]


def test_a_limited_key_gives_way_to_the_next(service: Service, cache: Path):
    def first_is_limited(body: dict[str, Any]) -> Any:
        return (429, {}, {}) if SECRETS[0] in service.seen[-1][0] else well_behaved(body)

    service.answer = first_is_limited
    assert service.open(cache, api_keys=SECRETS, connections=1).embed(["a"]).vectors.shape == (1, DIM)


def test_the_dimension_is_asked_for_and_known_without_a_request(service: Service, cache: Path):
    embedder = service.open(cache, query=f"&dimensions={DIM}")
    assert embedder.dim == DIM
    assert not service.seen
    embedder.embed(["a"])
    assert service.seen[0][1]["dimensions"] == DIM


def test_an_unknown_dimension_is_learnt_by_one_short_request(service: Service, cache: Path):
    embedder = service.open(cache)
    assert (embedder.dim, embedder.dim) == (DIM, DIM)
    assert len(service.seen) == 1


def test_answers_in_any_order_are_put_right_by_their_index(service: Service, cache: Path):
    def shuffled(body: dict[str, Any]) -> Any:
        status, headers, said = well_behaved(body)
        said["data"].reverse()
        return status, headers, said

    service.answer = shuffled
    vectors = service.open(cache).embed(["a", "b", "c"]).vectors
    assert np.allclose(vectors, [hash_vector(text, DIM) for text in "abc"], atol=1e-6)


def _drop_last(data: list[Any]) -> None:
    data.pop()


def _claim_the_place_of_one_without_index(data: list[Any]) -> None:
    del data[1]["index"], data[0]["index"]
    data[2]["index"] = 0


def _repeat_index(data: list[Any]) -> None:
    data[1]["index"] = 0


def _index_out_of_range(data: list[Any]) -> None:
    data[1]["index"] = 7


def _nan(data: list[Any]) -> None:
    data[1]["embedding"][3] = float("nan")


def _zero(data: list[Any]) -> None:
    data[1]["embedding"] = [0.0] * DIM


def _null(data: list[Any]) -> None:
    data[1]["embedding"] = None


def _words(data: list[Any]) -> None:
    data[1]["embedding"] = ["one"] * DIM


def _ragged(data: list[Any]) -> None:
    data[1]["embedding"] = data[1]["embedding"][:-1]


def _all_short(data: list[Any]) -> None:
    for item in data:
        item["embedding"] = item["embedding"][: DIM // 2]


@pytest.mark.parametrize(
    "spoil",
    [
        _drop_last,
        _claim_the_place_of_one_without_index,
        _repeat_index,
        _index_out_of_range,
        _nan,
        _zero,
        _null,
        _words,
        _ragged,
        _all_short,
    ],
)
def test_no_wrong_vector_is_ever_returned(spoil: Callable[[list[Any]], None], service: Service, cache: Path):
    def spoilt(body: dict[str, Any]) -> Any:
        status, headers, said = well_behaved(body)
        spoil(said["data"])
        return status, headers, said

    service.answer = spoilt
    with pytest.raises(EmbeddingFailed, match=r"127\.0\.0\.1|not finite"):
        service.open(cache, query=f"&dimensions={DIM}").embed(["a", "b", "c"])


@pytest.mark.parametrize("leaves_out", ["the first", "all"])
def test_an_answer_without_index_is_taken_in_its_order(leaves_out: str, service: Service, cache: Path):
    def without_index(body: dict[str, Any]) -> Any:
        status, headers, said = well_behaved(body)
        for item in said["data"] if leaves_out == "all" else said["data"][:1]:
            del item["index"]
        return status, headers, said

    service.answer = without_index
    vectors = service.open(cache).embed(["a", "b", "c"]).vectors
    assert np.allclose(vectors, [hash_vector(text, DIM) for text in "abc"], atol=1e-6)


def test_the_one_index_left_out_of_an_answer_in_another_order_is_the_one_that_is_missing(service: Service, cache: Path):
    def shuffled(body: dict[str, Any]) -> Any:
        status, headers, said = well_behaved(body)
        del said["data"][0]["index"]
        said["data"].reverse()
        return status, headers, said

    service.answer = shuffled
    vectors = service.open(cache).embed(["a", "b", "c"]).vectors
    assert np.allclose(vectors, [hash_vector(text, DIM) for text in "abc"], atol=1e-6)


def takes_at_most(chars: int, status: int, said: Any) -> Callable[[dict[str, Any]], Any]:
    def answer(body: dict[str, Any]) -> Any:
        return (status, {}, said) if any(len(text) > chars for text in body["input"]) else well_behaved(body)

    return answer


TOO_LONG = [
    (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens, however you requested 9001 tokens."
            }
        },
    ),
    (
        413,
        {"error": "Input validation error: `inputs` must have less than 512 tokens. Given: 701", "type": "Validation"},
    ),
    (422, {"detail": "the input length exceeds the context length"}),
    (400, {"error": {"message": "input is too large to process. increase the physical batch size"}}),
]


@pytest.mark.parametrize(("status", "said"), TOO_LONG)
def test_a_text_that_is_too_long_for_the_service_is_shortened_and_counted(
    status: int, said: Any, service: Service, cache: Path
):
    service.answer = takes_at_most(50, status, said)
    long = "".join(str(i) for i in range(60))
    answer = service.open(cache).embed(["a", long, "b", long])
    assert answer.n_shortened == 2
    assert np.allclose(answer.vectors[[0, 2]], [hash_vector("a", DIM), hash_vector("b", DIM)], atol=1e-6)
    taken = {text for _, body in service.seen for text in body["input"] if 16 < len(text) <= 50}
    assert len(taken) == 1
    assert long.startswith(next(iter(taken)))
    assert np.allclose(answer.vectors[1], hash_vector(taken.pop(), DIM), atol=1e-6)


def test_the_mean_over_windows_loses_nothing_of_a_text_that_is_too_long(service: Service, cache: Path):
    service.answer = takes_at_most(50, *TOO_LONG[0])
    answer = service.open(cache, long_text="mean").embed(["x" * 40 + "y" * 40])
    expected = hash_vector("x" * 40, DIM) + hash_vector("y" * 40, DIM)
    assert answer.n_shortened == 1
    assert np.allclose(answer.vectors[0], expected / np.linalg.norm(expected), atol=1e-6)


def test_many_short_texts_that_are_too_much_together_are_sent_in_parts(service: Service, cache: Path):
    def small_requests(body: dict[str, Any]) -> Any:
        return (413, {}, {"error": "payload too large"}) if len(body["input"]) > 2 else well_behaved(body)

    service.answer = small_requests
    answer = service.open(cache).embed(["a", "b", "c", "d", "e"])
    assert answer.n_shortened == 0
    assert np.allclose(answer.vectors, [hash_vector(text, DIM) for text in "abcde"], atol=1e-6)


def test_the_limit_on_a_texts_length_is_no_part_of_the_identity(service: Service, cache: Path):
    assert service.open(cache).identity == service.open(cache, query="&max_chars=10").identity
    assert service.open(cache).identity != service.open(cache, long_text="mean").identity


def test_a_dimension_that_changes_on_the_way_is_refused(service: Service, cache: Path):
    embedder = service.open(cache)
    embedder.embed(["a"])
    service.answer = lambda body: (200, {}, {"data": [{"index": 0, "embedding": [1.0, 2.0]}]})
    with pytest.raises(EmbeddingFailed, match="expected"):
        embedder.embed(["b"])


@pytest.mark.parametrize("said", [b"<html>welcome</html>", b"", b"[]", b'{"data": 3}', b"null"])
def test_an_answer_of_another_shape_is_refused(said: bytes, service: Service, cache: Path):
    service.answer = lambda body: (200, {}, said)
    with pytest.raises(EmbeddingFailed):
        service.open(cache).embed(["a"])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_a_service_in_trouble_is_worth_another_try(status: int, service: Service, cache: Path):
    service.answer = lambda body: (status, {"Retry-After": "7"}, {"error": "later"})
    with pytest.raises(ServiceUnavailable, match=str(status)) as caught:
        service.open(cache).embed(["a"])
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, EmbeddingFailed), (413, EmbeddingFailed), (401, BadSetting), (404, BadSetting), (307, BadSetting)],
)
def test_a_refusal_is_not_tried_again(status: int, kind: type[Exception], service: Service, cache: Path):
    service.answer = lambda body: (status, {}, {"error": "no"})
    with pytest.raises(kind, match=str(status)):
        service.open(cache).embed(["a"])
    assert len(service.seen) == 1


def test_a_service_that_is_too_slow_is_worth_another_try(service: Service, cache: Path):
    given_up = threading.Event()

    def slow(body: dict[str, Any]) -> Any:
        given_up.wait(300)
        return well_behaved(body)

    service.answer = slow
    with pytest.raises(ServiceUnavailable, match=r"within 0\.1 s"):
        service.open(cache, timeout_s=0.1).embed(["a"])
    given_up.set()


def test_a_service_that_is_not_there_is_worth_another_try(cache: Path):
    gone = open_embedder("openai://tiny?base_url=http://127.0.0.1:9/v1", EmbedSettings(), cache)
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:9"):
        gone.embed(["a"])


def test_keys_never_show_in_errors_or_identity(service: Service, cache: Path):
    embedder = service.open(cache, api_keys=SECRETS)
    for status in (400, 401, 404, 429, 500):
        service.answer = lambda body, status=status: (status, {}, {"error": f"bad key {SECRETS[0]} {SECRETS[1]}"})
        with pytest.raises(Exception, match=str(status)) as caught:
            embedder.embed(["a"])
        assert not any(secret in str(caught.value) for secret in SECRETS)
    assert not any(secret in embedder.identity + repr(embedder) for secret in SECRETS)


def test_a_password_in_the_address_never_shows(cache: Path):
    embedder = open_embedder("openai://m?base_url=http://me:hunter2@127.0.0.1:9/v1", EmbedSettings(), cache)
    assert "hunter2" not in embedder.identity
    with pytest.raises(ServiceUnavailable) as caught:
        embedder.embed(["a"])
    assert "hunter2" not in str(caught.value)


def test_what_arrived_before_a_failure_is_not_paid_again(service: Service, cache: Path):
    def fails_on_c(body: dict[str, Any]) -> Any:
        return (503, {}, {}) if "c" in body["input"] else well_behaved(body)

    embedder = service.open(cache, query="&batch=1", connections=1)
    service.answer = fails_on_c
    with pytest.raises(ServiceUnavailable):
        embedder.embed(["a", "b", "c", "d"])
    service.answer = well_behaved
    vectors = embedder.embed(["a", "b", "c", "d"]).vectors
    assert np.allclose(vectors, [hash_vector(text, DIM) for text in "abcd"], atol=1e-6)
    asked = [body["input"][0] for _, body in service.seen]
    assert asked.count("a") == asked.count("b") == 1


def test_long_texts_are_cut_and_counted_or_averaged(service: Service, cache: Path):
    cut = service.open(cache, query="&max_chars=10").embed(["x" * 25, "y"])
    assert cut.n_shortened == 1
    assert [len(text) for text in service.seen[-1][1]["input"]] == [10, 1]
    mean = service.open(cache, query="&max_chars=10", long_text="mean").embed(["x" * 25, "y"])
    expected = 20 * hash_vector("x" * 10, DIM) + 5 * hash_vector("x" * 5, DIM)
    assert np.allclose(mean.vectors[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert np.allclose(mean.vectors[1], hash_vector("y", DIM), atol=1e-6)


def test_a_request_holds_so_many_texts_and_characters():
    assert [len(batch) for batch in request_batches(["a"] * 5, 2)] == [2, 2, 1]
    assert [len(batch) for batch in request_batches(["a" * 150_000, "b" * 100_000, "c"], 64)] == [1, 2]


def test_retry_after_may_be_seconds_milliseconds_or_a_date():
    assert retry_after_s({"retry-after": "1.5"}, 0.0) == 1.5
    assert retry_after_s({"retry-after-ms": "250"}, 0.0) == 0.25
    assert retry_after_s({"retry-after": formatdate(1_000, usegmt=True)}, 990.0) == 10
    assert retry_after_s({"retry-after": "soon"}, 0.0) is None
    assert retry_after_s({}, 0.0) is None


LLAMA = f"""#!{sys.executable}
# Speaks as llama-server does: the options it is started with, /health, /v1/embeddings.
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
options = dict(zip(sys.argv[1::1], sys.argv[2::1]))
if "broken" in options["--model"]:
    sys.exit("error: failed to load model")
assert "--embedding" in sys.argv
class Handler(BaseHTTPRequestHandler):
    def answer(self, said):
        raw = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
    def do_GET(self):
        self.answer({{"status": "ok"}})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({{"data": [{{"index": i, "embedding": [len(t), 1.0, 2.0]}} for i, t in enumerate(body["input"])]}})
    def log_message(self, *args):
        pass
HTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def llama_server(tmp_path: Path) -> Path:
    server = tmp_path / "llama-server"
    server.write_text(LLAMA)
    server.chmod(0o755)
    return server


def test_a_gguf_model_runs_in_a_child_that_ends_with_it(llama_server: Path, tmp_path: Path):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    embedder = open_embedder(f"gguf://{tmp_path}/tiny.gguf?server={llama_server}", EmbedSettings(), tmp_path)
    assert isinstance(embedder, LlamaEmbedder)
    assert "tiny.gguf" in embedder.identity
    vectors = embedder.embed(["a", "abcd"]).vectors
    assert np.allclose(vectors[1], np.array([4, 1, 2]) / 21**0.5, atol=1e-6)
    child = embedder._child
    assert child is not None
    os.kill(child.pid, 9)
    child.wait()
    assert embedder.embed(["a"]).vectors.shape == (1, 3)
    again = embedder._child
    assert again is not None
    embedder.close()
    assert again.poll() is not None


def test_a_gguf_server_that_does_not_start_says_why(llama_server: Path, tmp_path: Path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    embedder = open_embedder(f"gguf://{tmp_path}/broken.gguf?server={llama_server}", EmbedSettings(), tmp_path)
    with pytest.raises(ServiceUnavailable, match="failed to load model"):
        embedder.embed(["a"])


def test_a_missing_llama_server_is_named_with_the_way_out(tmp_path: Path):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadSetting, match=r"\?server="):
        open_embedder(f"gguf://{tmp_path}/tiny.gguf?server=/no/llama-server", EmbedSettings(), tmp_path)


@pytest.mark.parametrize(
    "uri",
    ["openai://m?base_url=ftp://x", "openai://m?dimensions=-1", "openai://m?colour=red", "openai://?dimensions=3"],
)
def test_an_unusable_service_address_is_refused(uri: str, cache: Path):
    with pytest.raises(BadSetting):
        open_embedder(uri, EmbedSettings(), cache)


def test_a_database_that_knows_a_model_by_its_limit_knows_it_without_afterwards(tmp_path: Path):
    from alembic import command
    from alembic.config import Config

    from components.store import Store
    from components.store.migrate import migrations

    config = Config()
    config.set_main_option("script_location", str(migrations))
    url = f"sqlite:///{tmp_path}/store.db"
    old = ["m at http://h/v1 normalized max_chars=8192 long_text=truncate v1", "all-MiniLM-L6-v2 onnx fp32"]
    store = Store(url)
    ids = [store.vectors.model_id(identity, 3) for identity in old]
    with store.db.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0006")
    store.close()
    upgraded = Store(url)
    assert upgraded.vectors.model_id("m at http://h/v1 normalized long_text=truncate v1", 3) == ids[0]
    assert upgraded.vectors.model_id(old[1], 3) == ids[1]
    upgraded.close()
