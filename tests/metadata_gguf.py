"""The metadata that llama.cpp's converter writes of our tiny models: the writer's methods, without `add_`."""

from gguf import ExpertGatingFuncType, PoolingType, RopeScalingType


def sizes(config):
    """What all architectures tell."""
    block = config.blocks[0]
    return {
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.num_layers,
        "feed_forward_length": block.ffn.hidden if hasattr(block.ffn, "hidden") else block.ffn.expert.hidden,
        "head_count": block.mixer.num_heads,
    }


def decoder(config):
    mixer = config.blocks[0].mixer
    return {
        **sizes(config),
        "head_count_kv": mixer.num_kv_heads,
        "key_length": mixer.head_size,
        "value_length": mixer.head_size,
        "layer_norm_rms_eps": config.blocks[0].norm.eps,
        "rope_freq_base": mixer.rope.theta,
    }


def llama(config):
    return {**decoder(config), "rope_dimension_count": config.blocks[0].mixer.head_size, "vocab_size": 288}


def mistral(config):
    return {**llama(config), "sliding_window": config.blocks[0].mixer.window}


def phi3(config):
    mixer = config.blocks[0].mixer
    return {
        **decoder(config),
        "rope_dimension_count": mixer.rope.size or mixer.head_size,
        "rope_scaling_orig_ctx_len": config.context,
        "sliding_window": mixer.window or 0,
    }


def gemma2(config):
    values = {
        **decoder(config),
        "attn_logit_softcapping": config.blocks[0].mixer.softcap,
        "final_logit_softcapping": config.head.softcap,
        "sliding_window": config.blocks[0].mixer.window,
    }
    return {key: value for key, value in values.items() if key != "rope_freq_base"}


def gemma3(config):
    windows = [block.mixer.window for block in config.blocks]
    full = next(block.mixer.rope for block in config.blocks if block.mixer.window is None)
    return {
        **decoder(config),
        "rope_freq_base": full.theta,
        "rope_scaling_type": RopeScalingType.LINEAR,
        "rope_scaling_factor": full.scaling.factor,
        "sliding_window": windows[0],
        "sliding_window_pattern": windows.index(None) + 1,
    }


def mixtral(config):
    experts = config.blocks[0].ffn
    return {
        **llama(config),
        "sliding_window": config.blocks[0].mixer.window,
        "expert_count": experts.num_experts,
        "expert_used_count": experts.num_chosen,
    }


def qwen3_moe(config):
    experts = config.blocks[0].ffn
    return {
        **decoder(config),
        "expert_count": experts.num_experts,
        "expert_used_count": experts.num_chosen,
        "expert_feed_forward_length": experts.expert.hidden,
    }


def deepseek(config):
    mixer, experts = config.blocks[0].mixer, config.blocks[-1].ffn
    scaling = mixer.rope.scaling
    return {
        **sizes(config),
        "head_count_kv": 1,
        "layer_norm_rms_eps": config.blocks[0].norm.eps,
        "rope_freq_base": mixer.rope.theta,
        "rope_dimension_count": mixer.rope_size,
        "rope_scaling_type": RopeScalingType.YARN,
        "rope_scaling_factor": scaling.factor,
        "rope_scaling_orig_ctx_len": scaling.original_context,
        "rope_scaling_yarn_log_mul": 0.1 * scaling.mscale_all_dim,
        "q_lora_rank": mixer.q_rank,
        "kv_lora_rank": mixer.kv_rank,
        "key_length": mixer.kv_rank + mixer.rope_size,
        "value_length": mixer.kv_rank,
        "key_length_mla": mixer.plain_size + mixer.rope_size,
        "value_length_mla": mixer.value_size,
        "leading_dense_block_count": 1,
        "expert_count": experts.num_experts,
        "expert_used_count": experts.num_chosen,
        "expert_shared_count": experts.shared.hidden // experts.expert.hidden,
        "expert_feed_forward_length": experts.expert.hidden,
        "expert_weights_scale": experts.scale,
        "expert_weights_norm": experts.is_normalized,
        "expert_gating_func": ExpertGatingFuncType.SIGMOID,
        "expert_group_count": experts.num_groups,
        "expert_group_used_count": experts.num_chosen_groups,
    }


def mamba2(config):
    mixer = config.blocks[0].mixer
    return {
        "context_length": 2**20,
        "embedding_length": config.width,
        "feed_forward_length": 0,
        "head_count": 0,
        "block_count": config.num_layers,
        "ssm_conv_kernel": mixer.conv_size,
        "ssm_inner_size": mixer.num_heads * mixer.head_size,
        "ssm_state_size": mixer.state_size,
        "ssm_time_step_rank": mixer.num_heads,
        "ssm_group_count": mixer.num_groups,
        "layer_norm_rms_eps": mixer.norm_eps,
    }


def jamba(config):
    mixers = [block.mixer for block in config.blocks]
    mamba = next(mixer for mixer in mixers if mixer.kind == "mamba")
    attention = next(mixer for mixer in mixers if mixer.kind == "attention")
    experts = next(block.ffn for block in config.blocks if block.ffn.kind == "moe")
    return {
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.num_layers,
        "feed_forward_length": config.blocks[0].ffn.hidden,
        "head_count": attention.num_heads,
        "head_count_kv": [mixer.num_kv_heads if mixer.kind == "attention" else 0 for mixer in mixers],
        "ssm_conv_kernel": mamba.conv_size,
        "ssm_inner_size": mamba.inner,
        "ssm_state_size": mamba.state_size,
        "ssm_time_step_rank": mamba.dt_rank,
        "layer_norm_rms_eps": config.blocks[0].norm.eps,
        "expert_count": experts.num_experts,
        "expert_used_count": experts.num_chosen,
    }


def qwen3_next(config):
    mixers = [block.mixer for block in config.blocks]
    delta = next(mixer for mixer in mixers if mixer.kind == "delta")
    attention = next(mixer for mixer in mixers if mixer.kind == "attention")
    experts = config.blocks[0].ffn
    return {
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.num_layers,
        "feed_forward_length": experts.expert.hidden,
        "head_count": attention.num_heads,
        "head_count_kv": attention.num_kv_heads,
        "key_length": attention.head_size,
        "value_length": attention.head_size,
        "layer_norm_rms_eps": config.blocks[0].norm.eps,
        "rope_freq_base": attention.rope.theta,
        "rope_dimension_count": attention.rope.size,
        "ssm_conv_kernel": delta.conv_size,
        "ssm_inner_size": delta.num_heads * delta.value_size,
        "ssm_state_size": delta.key_size,
        "ssm_time_step_rank": delta.num_heads,
        "ssm_group_count": delta.num_key_heads,
        "expert_count": experts.num_experts,
        "expert_used_count": experts.num_chosen,
        "expert_feed_forward_length": experts.expert.hidden,
        "expert_shared_feed_forward_length": experts.shared.hidden,
    }


def mpt(config):
    return {**gpt2(config), "max_alibi_bias": config.blocks[0].mixer.alibi}


def gpt2(config):
    return {**sizes(config), "layer_norm_eps": config.blocks[0].norm.eps}


def bert(config):
    return {
        **sizes(config),
        "layer_norm_eps": config.blocks[0].norm.eps,
        "causal_attention": False,
        "pooling_type": PoolingType.CLS,
        "token_type_count": config.num_token_types,
    }


def modern_bert(config):
    windows = [block.mixer.window for block in config.blocks]
    ropes = {
        window is None: block.mixer.rope.theta for window, block in zip(windows, config.blocks, strict=True)
    }
    return {
        **sizes(config),
        "layer_norm_eps": config.blocks[0].norm.eps,
        "causal_attention": False,
        "pooling_type": PoolingType.MEAN,
        "sliding_window": max(window for window in windows if window),
        "sliding_window_pattern": windows[1:].index(None) + 1,
        "rope_freq_base": ropes[True],
        "rope_freq_base_swa": ropes[False],
        "rope_scaling_type": RopeScalingType.NONE,
        "vocab_size": config.vocab_size,
    }


def t5(config):
    mixer, eps = config.blocks[0].mixer, config.blocks[0].norm.eps
    return {
        **sizes(config),
        "block_count": config.encoder.num_layers,
        "decoder_block_count": config.num_layers,
        "key_length": mixer.head_size,
        "value_length": mixer.head_size,
        "layer_norm_eps": eps,
        "layer_norm_rms_eps": eps,
        "relative_attn_buckets_count": config.relative.num_buckets,
        "decoder_start_token_id": 0,
    }
