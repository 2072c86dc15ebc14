#!/usr/bin/env python3
"""Writes tests/goldens/quantized/: a tiny Llama in every form of quantized checkpoint that the engine reads.

Each folder is a checkpoint as the real package writes it - compressed-tensors, ModelOpt, and the packing layers of AutoAWQ
and AutoGPTQ - and a golden.json: for each quantized matrix the SHA-256 of its weights [N, K] in f32 (little-endian), which
the package's own unpacking gives when its scales are widened to f32 first, and what transformers computes in f32 with these
weights: the logits of every position of a prompt.

Wants beside the packages of baseline/requirements.txt, in an environment of its own:
  pip install --no-deps compressed-tensors==0.20.0 nvidia-modelopt==0.47.0 (and what they import)
  the source folders of autoawq 0.2.9 and auto-gptq 0.7.1, whose packing layers are loaded as they are (no CUDA)
  compressed-tensors 0.10.2 in a folder of its own, the last line that unpacks weight_g_idx

usage: python tests/goldens/make_quantized_checkpoints.py AUTOAWQ_SOURCE AUTOGPTQ_SOURCE OLD_COMPRESSED_TENSORS [NAME ...]
"""
import hashlib
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import types

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent / "quantized"
SIZES = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             head_dim=16, vocab_size=96, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
             pad_token_id=0)
NUM_PROMPT_TOKENS = 12


# ---------------------------------------------------------------------------------------------- models

def random_model(dtype, seed=1):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(**SIZES, architectures=["LlamaForCausalLM"])
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.copy_(1 + 0.2 * torch.randn_like(weight))
            else:  # wide enough that the logits are far apart
                weight.copy_(torch.randn_like(weight) * (1.6 / weight.shape[1] ** 0.5))
    return model.to(dtype).eval()


def layer_matrices(model):
    return {name: module for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and name != "lm_head"}


def write_golden(folder, dequantized):
    """`dequantized`: matrix name -> f32 [N, K]. The other tensors are taken from the folder."""
    stored = load_file(folder / "model.safetensors")
    model = random_model(torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            matrix = name.removesuffix(".weight")
            if matrix in dequantized:
                parameter.copy_(dequantized[matrix])
            else:
                parameter.copy_(stored[name].float())
    generator = torch.Generator().manual_seed(7)
    prompt = torch.randint(3, SIZES["vocab_size"], (NUM_PROMPT_TOKENS,), generator=generator)
    with torch.inference_mode():
        logits = model(input_ids=prompt[None], use_cache=False).logits[0]
    weights = {name + ".weight": hashlib.sha256(weight.contiguous().numpy().tobytes()).hexdigest()
               for name, weight in dequantized.items()}
    (folder / "golden.json").write_text(json.dumps({
        "prompt": prompt.tolist(), "weights": weights,
        "logits": [[float(f"{x:.7g}") for x in row] for row in logits.tolist()]}))


def write_config(folder, model, quantization):
    config = json.loads(model.config.to_json_string())
    config.pop("quantization_config", None)
    config["dtype"] = str(model.dtype).removeprefix("torch.")
    if quantization is not None:
        config["quantization_config"] = quantization
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def fresh(name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


# ------------------------------------------------------------------------------------ compressed-tensors

def compressed_tensors(name, weights, inputs=None, ignore=("lm_head",), dtype=torch.bfloat16, input_scale=None):
    """Quantized by the package: its ranges and scales, its compressor, its configuration."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (QuantizationArgs, QuantizationConfig, QuantizationScheme,
                                                 apply_quantization_config)
    from compressed_tensors.quantization.utils import calculate_qparams
    folder = fresh(name)
    model = random_model(dtype)
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights),
                                input_activations=QuantizationArgs(**inputs) if inputs else None)
    apply_quantization_config(model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=list(ignore),
                                                        quantization_status="frozen"))
    for module in layer_matrices(model).values():
        if not hasattr(module, "quantization_scheme"):
            continue
        grouped = module.weight.detach()
        if weights["strategy"] == "group":
            grouped = grouped.unflatten(-1, (-1, weights["group_size"]))
        low, high = (torch.aminmax(grouped.reshape(-1)) if weights["strategy"] == "tensor"
                     else torch.aminmax(grouped, dim=-1))
        scale, zero = calculate_qparams(low, high, scheme.weights)
        module.weight_scale.data.copy_(scale.reshape(module.weight_scale.shape))
        if hasattr(module, "weight_zero_point"):
            module.weight_zero_point.data.copy_(zero.reshape(module.weight_zero_point.shape))
        if input_scale is not None:
            module.input_scale.data.fill_(input_scale)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_config(folder, model, None)
    compressor.update_config(folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["ignore"] = list(ignore)  # patterns as given; the package wrote the names they match
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    write_golden(folder, compressed_tensors_weights(folder))


def compressed_tensors_weights(folder):
    """The package's decompression, with scales in f32."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    scheme = QuantizationScheme(**config["config_groups"]["group_0"])
    compressor = BaseCompressor.get_value_from_registry(config["format"])
    stored = load_file(folder / "model.safetensors")
    weights = {}
    for key in stored:
        if not key.endswith("weight_scale"):
            continue
        module = key.removesuffix(".weight_scale")
        local = {name.removeprefix(module + "."): value for name, value in stored.items() if name.startswith(module + ".")}
        local["weight_scale"] = local["weight_scale"].float()
        if "weight_shape" in local:
            local["weight_shape"] = torch.Size(local["weight_shape"].tolist())
        weights[module] = compressor.decompress(local, scheme)["weight"].float()
    return weights


def float8(strategy, dynamic):
    activations = (dict(num_bits=8, type="float", strategy="token", dynamic=True) if dynamic else
                   dict(num_bits=8, type="float", strategy="tensor", dynamic=False))
    return dict(num_bits=8, type="float", strategy=strategy, symmetric=True), activations


def integer(bits, strategy, symmetric=True, **more):
    return dict(num_bits=bits, type="int", strategy=strategy, symmetric=symmetric, **more)


INT8_TOKENS = dict(num_bits=8, type="int", strategy="token", dynamic=True, symmetric=True)


def act_order(name, old_package):
    """weight_g_idx, as `actorder: group` had it until 2026: columns in any order of their groups."""
    folder = HERE / name
    compressed_tensors(name, integer(4, "group", group_size=32), ignore=("lm_head", "re:.*layers[.]1[.]mlp"))
    path = folder / "model.safetensors"
    stored = load_file(path)
    generator = torch.Generator().manual_seed(5)
    orders = {}
    for key in list(stored):
        if not key.endswith("weight_packed"):
            continue
        module = key.removesuffix(".weight_packed")
        columns = stored[key].shape[1] * 8
        input_name = module.rsplit(".", 1)[0] + (".x" if module.rsplit(".", 1)[1][0] in "qkvgu" else module)
        if input_name not in orders:
            orders[input_name] = torch.randperm(columns, generator=generator)
        g_idx = torch.empty(columns, dtype=torch.int32)
        g_idx[orders[input_name]] = (torch.arange(columns) // 32).int()
        stored[module + ".weight_g_idx"] = g_idx
    save_file(stored, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"]["weights"]["actorder"] = "group"
    config["quantization_config"]["version"] = "0.10.2"
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    subprocess.run([sys.executable, __file__, "--unpack-old", str(folder)], check=True,
                   env={"PYTHONPATH": old_package, "PATH": "/usr/bin:/bin"})
    weights = load_file(folder / "unpacked.safetensors")
    (folder / "unpacked.safetensors").unlink()
    write_golden(folder, weights)


def unpack_old(folder):
    """Runs with compressed-tensors 0.10 on its path."""
    from compressed_tensors.compressors.quantized_compressors.pack_quantized import unpack_from_int32
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize
    stored = load_file(folder / "model.safetensors")
    args = QuantizationArgs(num_bits=4, type="int", strategy="group", group_size=32, symmetric=True, actorder="group")
    weights = {}
    for key in stored:
        if key.endswith("weight_packed"):
            module = key.removesuffix(".weight_packed")
            codes = unpack_from_int32(stored[key], 4, torch.Size(stored[module + ".weight_shape"].tolist()))
            weights[module] = dequantize(codes, stored[module + ".weight_scale"].float(), None,
                                         g_idx=stored[module + ".weight_g_idx"], args=args).contiguous()
    save_file(weights, folder / "unpacked.safetensors")


# --------------------------------------------------------------------------------------------- AWQ, GPTQ

def ranges(weight, group_size, bits, symmetric):
    """Round-to-nearest scales and zero points [N, G]."""
    groups = weight.float().unflatten(-1, (-1, group_size))
    most = 2 ** bits - 1
    if symmetric:
        scale = 2 * groups.abs().amax(-1) / most
        return scale.half(), torch.full_like(scale, (most + 1) // 2)
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scale = ((high - low) / most).half()
    return scale, torch.round(-low / scale.float()).clamp(0, most)


def save_packed(folder, model, layers, quantization):
    state = {key: value for key, value in model.state_dict().items()}
    for name, buffers in layers.items():
        del state[name + ".weight"]
        state.update({f"{name}.{part}": value.contiguous() for part, value in buffers.items()})
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_config(folder, model, quantization)


def awq_packages(source):
    """AutoAWQ's GEMM layer and unpacking, without the package's imports of models and CUDA."""
    for package in ["awq", "awq.utils", "awq.modules", "awq.modules.linear"]:
        module = types.ModuleType(package)
        module.__path__ = [str(pathlib.Path(source, *package.split(".")))]
        sys.modules[package] = module
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm
    return WQLinear_GEMM, dequantize_gemm


def awq(name, source, group_size, kept=()):
    layer_class, dequantize = awq_packages(source)
    folder = fresh(name)
    model = random_model(torch.float16)
    layers, weights = {}, {}
    for module_name, module in layer_matrices(model).items():
        if any(part in module_name for part in kept):
            continue
        columns = module.in_features
        size = columns if group_size == -1 else group_size
        scale, zero = ranges(module.weight.data, size, 4, symmetric=False)
        packed = layer_class.from_linear(module, 4, size, scales=scale.t().contiguous(), zeros=zero.t().contiguous())
        layers[module_name] = dict(qweight=packed.qweight, qzeros=packed.qzeros, scales=packed.scales)
        unpacked = dequantize(packed.qweight, packed.qzeros, packed.scales.float(), 4, size)
        weights[module_name] = unpacked.float().t().contiguous()
    save_packed(folder, model, layers, dict(quant_method="awq", bits=4, group_size=group_size, zero_point=True,
                                            version="gemm", modules_to_not_convert=list(kept) or None))
    write_golden(folder, weights)


def gptq_layer(source):
    path = pathlib.Path(source, "auto_gptq", "nn_modules", "qlinear", "qlinear_cuda.py")
    spec = importlib.util.spec_from_file_location("qlinear_cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.QuantLinear


def gptq(name, source, bits=4, group_size=32, symmetric=True, desc_act=False, form="gptq", head=False):
    layer_class = gptq_layer(source)
    folder = fresh(name)
    model = random_model(torch.float16)
    layers, weights, orders = {}, {}, {}
    generator = torch.Generator().manual_seed(3)
    matrices = layer_matrices(model)
    if head:
        matrices["lm_head"] = model.lm_head
    for module_name, module in matrices.items():
        columns = module.in_features
        size = columns if group_size == -1 else group_size
        parent, leaf = module_name.rpartition(".")[::2]
        inputs = parent if leaf[0] in "qkvgu" else module_name  # matrices of one input have one order
        if inputs not in orders:
            orders[inputs] = torch.randperm(columns, generator=generator) if desc_act else torch.arange(columns)
        order = orders[inputs]
        g_idx = torch.empty(columns, dtype=torch.int32)
        g_idx[order] = (torch.arange(columns) // size).int()
        scale, zero = ranges(module.weight.data[:, order], size, bits, symmetric)
        if not symmetric:
            zero = zero.clamp(min=1)  # AutoGPTQ's layer can't store zero - 1 of 0
        layer = layer_class(bits, size, columns, module.out_features, False)
        layer.pack(module, scale.clone(), zero.half(), g_idx)
        packed = dict(qweight=layer.qweight, qzeros=layer.qzeros.clone(), scales=layer.scales, g_idx=layer.g_idx)
        layer.scales = layer.scales.float()
        weights[module_name] = layer(torch.eye(columns)).t().contiguous()
        if form == "gptq_v2":  # as GPTQModel turns one into the other
            packed["qzeros"] += 0x11111111
        layers[module_name] = packed
    save_packed(folder, model, layers, dict(
        quant_method="gptq", bits=bits, group_size=group_size, desc_act=desc_act, sym=symmetric, damp_percent=0.01,
        static_groups=False, true_sequential=True, checkpoint_format=form))
    write_golden(folder, weights)


# ------------------------------------------------------------------------------------------ fp8, ModelOpt

def fp8(name, scheme, per_channel=False, inverse_name=False):
    """As AutoFP8 writes it: scale = max |w| / 448, weight = e4m3(w / scale)."""
    folder = fresh(name)
    model = random_model(torch.bfloat16)
    layers, weights = {}, {}
    scale_name = "weight_scale_inv" if inverse_name else "weight_scale"
    for module_name, module in layer_matrices(model).items():
        weight = module.weight.data.float()
        scale = (weight.abs().amax(-1, keepdim=True) if per_channel else weight.abs().amax()) / 448
        codes = (weight / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
        layers[module_name] = {"weight": codes, scale_name: scale}
        if scheme == "static":
            layers[module_name]["input_scale"] = torch.tensor(0.02)
        weights[module_name] = codes.float() * scale
    save_packed(folder, model, layers, dict(quant_method="fp8", activation_scheme=scheme, ignored_layers=["lm_head"]))
    write_golden(folder, weights)


def modelopt(name, in_config):
    """Quantized and exported by ModelOpt on the CPU."""
    import modelopt.torch.quantization as mtq
    from modelopt.torch.export import export_hf_checkpoint
    folder = fresh(name)
    model = random_model(torch.bfloat16)
    tokens = torch.arange(3, 67)[None] % SIZES["vocab_size"]
    mtq.quantize(model, mtq.FP8_DEFAULT_CFG, lambda m: m(input_ids=tokens))
    with torch.inference_mode():
        export_hf_checkpoint(model, export_dir=folder)
    for path in folder.iterdir():
        if path.name not in ("config.json", "hf_quant_config.json", "model.safetensors"):
            path.unlink()
    if in_config:
        (folder / "hf_quant_config.json").unlink()
    else:
        config = json.loads((folder / "config.json").read_text())
        config.pop("quantization_config", None)
        (folder / "config.json").write_text(json.dumps(config, indent=1))
    stored = load_file(folder / "model.safetensors")
    write_golden(folder, {key.removesuffix(".weight"): value.float() * stored[key + "_scale"].float()
                          for key, value in stored.items() if value.dtype == torch.float8_e4m3fn})


def main(awq_source, gptq_source, old_package, *wanted):
    everything = {
        "ct-fp8-dynamic": lambda n: compressed_tensors(n, *float8("channel", True)),
        "ct-fp8-static": lambda n: compressed_tensors(n, *float8("tensor", False), input_scale=0.02),
        "ct-w8a8": lambda n: compressed_tensors(n, integer(8, "channel"), INT8_TOKENS),
        "ct-w8a8-tensor": lambda n: compressed_tensors(n, integer(8, "tensor"), INT8_TOKENS),
        "ct-w8a16": lambda n: compressed_tensors(n, integer(8, "channel")),
        "ct-w4a16": lambda n: compressed_tensors(n, integer(4, "group", group_size=32)),
        "ct-w4a16-channel": lambda n: compressed_tensors(n, integer(4, "channel"), dtype=torch.float16),
        "ct-w4a16-asymmetric": lambda n: compressed_tensors(n, integer(4, "group", False, group_size=64),
                                                            ignore=("lm_head", "re:.*[.]down_proj$")),
        "ct-w4a16-act-order": lambda n: act_order(n, old_package),
        "awq": lambda n: awq(n, awq_source, 32),
        "awq-rows": lambda n: awq(n, awq_source, -1, kept=["down_proj"]),
        "gptq": lambda n: gptq(n, gptq_source),
        "gptq-rows": lambda n: gptq(n, gptq_source, group_size=-1, symmetric=False),
        "gptq-asymmetric": lambda n: gptq(n, gptq_source, symmetric=False, head=True),
        "gptq-act-order": lambda n: gptq(n, gptq_source, desc_act=True, symmetric=False),
        "gptq-v2": lambda n: gptq(n, gptq_source, form="gptq_v2", symmetric=False),
        "gptq-8bit": lambda n: gptq(n, gptq_source, bits=8, group_size=-1),
        "fp8-dynamic": lambda n: fp8(n, "dynamic"),
        "fp8-static": lambda n: fp8(n, "static"),
        "fp8-channel": lambda n: fp8(n, "dynamic", per_channel=True),
        "fp8-inverse-name": lambda n: fp8(n, "dynamic", inverse_name=True),
        "modelopt-fp8": lambda n: modelopt(n, in_config=False),
        "modelopt-fp8-config": lambda n: modelopt(n, in_config=True),
    }
    for name, make in everything.items():
        if not wanted or name in wanted:
            make(name)
            print(name, len(json.loads((HERE / name / "golden.json").read_text())["weights"]), "matrices")


if __name__ == "__main__":
    if sys.argv[1] == "--unpack-old":
        unpack_old(pathlib.Path(sys.argv[2]))
    else:
        main(*sys.argv[1:])
