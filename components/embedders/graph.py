"""A BERT encoder as an ONNX graph, built straight from its safetensors: no torch, no exporter, no network.

The graph takes ids (batch, length) of texts of equal length, so it needs no mask, and gives pooled unit vectors
(batch, dim). Its weights lie beside it in `weights.bin`, which ONNX Runtime maps instead of reading: of the embedding
table, half of MiniLM's bytes, only the rows in use ever become resident.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from components.cached_folder import atomic_folder, is_intact
from components.embedders.weights import BertShape, open_tensors
from components.errors import ServiceUnavailable
from components.settings import disable_telemetry

Precision = Literal["fp32", "int8"]

GRAPH, WEIGHTS = "graph.onnx", "weights.bin"
graph_version = 1  # part of the cached folder's name: raise it when the graph below changes

_PAGE = 4_096  # tensors start on a page, so that they can be mapped


def cached_graph(folder: Path, safetensors: Path, shape: BertShape, precision: Precision = "fp32") -> Path:
    """The folder's graph file, built first where it is missing or damaged.

    Built aside and renamed, so that processes which start together see a whole folder or none.
    Raises `ServiceUnavailable` where the folder can't be written.
    """
    if is_intact(folder):
        return folder / GRAPH
    try:
        with atomic_folder(folder, keep_intact=True) as aside:
            build_graph(safetensors, shape, aside)
            if precision == "int8":
                _quantise(aside)
    except OSError as error:
        raise ServiceUnavailable(
            f"The model's graph can't be written to {folder.parent}: {error.strerror or error}; free some space there, or "
            "let RUNATLAS_HOME name a folder that can be written."
        ) from error
    return folder / GRAPH


def build_graph(safetensors: Path, shape: BertShape, folder: Path) -> None:
    """Writes `graph.onnx` and `weights.bin` into `folder`."""
    import onnx

    with open_tensors(safetensors) as tensors, (folder / WEIGHTS).open("wb") as file:
        model = _encoder(tensors, shape, _Builder(file=file))
    # says that the graph is as it should be, or the quantiser would warn through the root logger
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    onnx.save(model, folder / GRAPH)


def _quantise(folder: Path) -> None:
    """Puts int8 matrices, a scale for each column, in place of the folder's float32 ones."""
    disable_telemetry()
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = folder / "whole.onnx"
    (folder / GRAPH).rename(whole)
    quantize_dynamic(
        whole,
        folder / GRAPH,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )
    whole.unlink()
    (folder / WEIGHTS).write_bytes(b"")


@dataclass(slots=True, kw_only=True)
class _Builder:
    """Collects nodes and constants; big constants go to the weights file at once, so none is held in memory."""

    file: BinaryIO
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def op(self, kind: str, *inputs: str, n: int = 1, **attributes: Any) -> Any:
        """The name of the node's output, or the list of its `n` outputs."""
        from onnx import helper

        outputs = [f"{kind}_{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs[0] if n == 1 else outputs

    def integers(self, *values: int) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), f"i{len(self.constants)}"))
        return str(self.constants[-1].name)

    def number(self, value: float) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.array(value, np.float32), f"f{len(self.constants)}"))
        return str(self.constants[-1].name)

    def weight(self, values: NDArray[np.float32]) -> str:
        from onnx import TensorProto

        self.file.write(b"\0" * (-self.file.tell() % _PAGE))
        tensor = TensorProto(
            name=f"w{len(self.constants)}",
            data_type=TensorProto.FLOAT,
            dims=values.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("location", WEIGHTS), ("offset", self.file.tell()), ("length", values.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.file.write(np.ascontiguousarray(values, "<f4").tobytes())
        self.constants.append(tensor)
        return str(tensor.name)


def _encoder(tensors: Mapping[str, NDArray[np.float32]], shape: BertShape, build: _Builder) -> Any:
    """The whole model: embeddings, layers, mean over the tokens, length one."""
    from onnx import TensorProto, helper

    x = _embeddings(tensors, shape, build)
    for prefix in _layers(shape):
        x = _layer(tensors, shape, build, x, prefix)
    pooled = _sum_over_tokens(build, x)
    build.nodes.append(helper.make_node("LpNormalization", [pooled], ["vectors"], axis=-1, p=2))
    graph = helper.make_graph(
        build.nodes,
        "bert",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", shape.dim])],
        build.constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _sum_over_tokens(build: _Builder, x: str) -> str:
    """Sums over the tokens; once normalised they are the means. A product with ones, since ONNX Runtime's ReduceMean
    adds in another order when the batch holds one text alone, and so gives that text other last bits.
    """
    from onnx import numpy_helper

    length = build.op("Slice", build.op("Shape", "ids"), build.integers(1), build.integers(2))
    row = build.op("Concat", build.integers(1), length, axis=0)
    ones = build.op("ConstantOfShape", row, value=numpy_helper.from_array(np.ones(1, np.float32)))
    return str(build.op("Squeeze", build.op("MatMul", ones, x), build.integers(1)))


def _layers(shape: BertShape) -> Iterator[str]:
    return (f"encoder.layer.{i}." for i in range(shape.layers))


def _embeddings(tensors: Mapping[str, NDArray[np.float32]], shape: BertShape, build: _Builder) -> str:
    positions = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    length = build.op("Gather", build.op("Shape", "ids"), build.integers(1), axis=0)
    position = build.op("Slice", build.weight(positions), build.integers(0), length, build.integers(0))
    words = build.op("Gather", build.weight(tensors["embeddings.word_embeddings.weight"]), "ids")
    return _norm(tensors, shape, build, build.op("Add", words, position), "embeddings.LayerNorm")


def _layer(tensors: Mapping[str, NDArray[np.float32]], shape: BertShape, build: _Builder, x: str, prefix: str) -> str:
    """One transformer layer. Query, key and value share one matrix product; the attention itself is ONNX Runtime's
    blocked one, which never writes the (length, length) scores to memory.
    """
    names = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    fused = _linear_of(
        build,
        x,
        np.concatenate([tensors[f"{name}.weight"] for name in names]),
        np.concatenate([tensors[f"{name}.bias"] for name in names]),
    )
    query, key, value = build.op("Split", fused, build.integers(shape.dim, shape.dim, shape.dim), n=3, axis=-1)
    context = build.op("MultiHeadAttention", query, key, value, domain="com.microsoft", num_heads=shape.heads)
    attended = build.op("Add", _linear(tensors, build, context, f"{prefix}attention.output.dense"), x)
    x = _norm(tensors, shape, build, attended, f"{prefix}attention.output.LayerNorm")
    inner = _gelu(build, _linear(tensors, build, x, f"{prefix}intermediate.dense"))
    outer = build.op("Add", _linear(tensors, build, inner, f"{prefix}output.dense"), x)
    return _norm(tensors, shape, build, outer, f"{prefix}output.LayerNorm")


def _linear(tensors: Mapping[str, NDArray[np.float32]], build: _Builder, x: str, name: str) -> str:
    return _linear_of(build, x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _linear_of(build: _Builder, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
    return str(build.op("Add", build.op("MatMul", x, build.weight(weight.T)), build.weight(bias)))


def _norm(tensors: Mapping[str, NDArray[np.float32]], shape: BertShape, build: _Builder, x: str, name: str) -> str:
    scale, shift = build.weight(tensors[f"{name}.weight"]), build.weight(tensors[f"{name}.bias"])
    return str(build.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=shape.epsilon))


def _gelu(build: _Builder, x: str) -> str:
    """x/2 (1 + erf(x/sqrt 2)), spelled out: ONNX Runtime's fused BiasGelu was 8 % slower for the whole model."""
    erf = build.op("Erf", build.op("Div", x, build.number(2**0.5)))
    return str(build.op("Mul", build.op("Mul", x, build.op("Add", erf, build.number(1.0))), build.number(0.5)))
