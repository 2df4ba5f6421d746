"""DeepSpeed's keys that have no key of ours, with the reason or the nearest of our keys.

docs/from-pytorch.md lists them for readers; a test compares the two.
"""

# Hugging Face's "auto": (its Trainer's argument, that one's default, our keys that say another).
# Without keys of ours nothing is said: the value follows from others.
AUTO = {
    "train_batch_size": ("", None, ""),
    "train_micro_batch_size_per_gpu": ("per_device_train_batch_size", 8, "data.batch_size"),
    "gradient_accumulation_steps": ("gradient_accumulation_steps", 1, "train.micro_batches"),
    "gradient_clipping": ("max_grad_norm", 1.0, "train.gradient_clip"),
    "optimizer.params.lr": ("learning_rate", 5e-5, "optimizer.lr"),
    "optimizer.params.betas": (
        "adam_beta1 and adam_beta2",
        [0.9, 0.999],
        "optimizer.beta1, optimizer.beta2",
    ),
    "optimizer.params.eps": ("adam_epsilon", 1e-8, "optimizer.eps"),
    "optimizer.params.weight_decay": ("weight_decay", 0.0, "optimizer.weight_decay"),
    "scheduler.params.warmup_min_lr": ("", 0.0, ""),
    "scheduler.params.warmup_max_lr": ("learning_rate", 5e-5, "optimizer.lr"),
    "scheduler.params.warmup_num_steps": ("warmup_steps", 0, "schedule.warmup_steps"),
    "scheduler.params.total_num_steps": ("", 0, ""),
    "fp16.enabled": ("fp16", False, "precision.dtype"),
    "bf16.enabled": ("bf16", False, "precision.dtype"),
    "zero_optimization.offload_optimizer.device": ("", "none", ""),
    "zero_optimization.offload_param.device": ("", "none", ""),
    "zero_optimization.overlap_comm": ("", None, ""),
}

ONE_GROUP = "there is data parallelism alone, with ZeRO's stages"
SPARSE = (
    "no blocks, global or random positions; nearest model.encoder_attention = local and "
    "model.decoder_attention = local with model.attention_window"
)
LOGS = "metrics.jsonl has all values; nearest monitor.tensorboard"
GONE = "DeepSpeed itself has taken it out"

# Sections and single keys of the outermost object. Named where they ask for something.
TOP = {
    "wall_clock_breakdown": "times of phases are always in TensorBoard; nearest profile.enabled",
    "memory_breakdown": "metrics.jsonl has each rank's memory; --plan shows it by class",
    "dump_state": "--check prints the resolved deck, resolved.in keeps it",
    "prescale_gradients": "gradients are summed exactly and divided once by the token count",
    "gradient_predivide_factor": "gradients are summed exactly and divided once",
    "gradient_allreduce_op": "gradients are summed and divided by the count of target tokens",
    "sparse_gradients": "an embedding's gradient is a part of its unit's buffer",
    "disable_allgather": "updated parameters are always gathered",
    "allgather_size": "parameters are gathered unit by unit, there are no buckets",
    "zero_allow_untested_optimizer": "every optimizer here is tested at every stage",
    "zero_force_ds_cpu_optimizer": "zero.offload_optimizer has one host loop for every optimizer",
    "seq_parallel_comm_data_type": ONE_GROUP,
    "seq_parallel_communication_data_type": ONE_GROUP,
    "sequence_parallel_size": ONE_GROUP,
    "tensor_parallel": ONE_GROUP,
    "expert_parallel": ONE_GROUP,
    "pipeline": ONE_GROUP,
    "use_data_before_expert_parallelism": ONE_GROUP,
    "use_data_before_expert_parallel": ONE_GROUP,
    "vocabulary_size": "DeepSpeed only warns by it; nearest data.vocab_size",
    "dataloader_drop_last": "no sentence is dropped: the last step of an epoch may be smaller",
    "data_efficiency": "nearest data.sort_window, which sorts by length, and data.train_weights",
    "curriculum_learning": "nearest data.sort_window, which sorts by length",
    "progressive_layer_drop": "nearest model.dropout",
    "eigenvalue": "it belongs to quantized training, which there is none of",
    "quantize_training": "weights are not quantized in training; th_translate has --dtype int8",
    "compression_training": "weights are not quantized in training; th_translate has --dtype int8",
    "weight_quantization": "weights are not quantized in training; th_translate has --dtype int8",
    "autotuning": "nearest --plan, which prints memory and time of every stage",
    "elasticity": "not needed: a run goes on at any rank count with the same bits",
    "amp": "Apex is not used; nearest precision.dtype",
    "aio": "nothing is moved to NVMe; nearest zero.offload_optimizer",
    "hybrid_engine": "th_translate decodes; nearest decode.sharded",
    "inference": "th_translate decodes",
    "compile": "there is nothing to compile: kernels are fused by hand",
    "graph_harvesting": "there are no CUDA graphs",
    "comms_logger": "metrics.jsonl has bytes_sent, --plan what each stage sends",
    "csv_monitor": LOGS,
    "wandb": LOGS,
    "comet": LOGS,
    "nebula": "nearest checkpoint.async, which writes while training goes on",
    "datastates_ckpt": "nearest checkpoint.async, which writes while training goes on",
    "timers": "metrics.jsonl has the seconds of every step",
    "sparse_attention": SPARSE,
    "disable_python_gc": "there is no Python in a run",
    "log_level": "nearest monitor.log_every_steps",
    "managed_gradient_accumulation": "steps are always counted by the program",
    "hpu": "there are CPUs and NVIDIA's GPUs: run.device",
}
TOP_IDLE = {
    "gradient_predivide_factor": 1.0,
    "sequence_parallel_size": 1,
    "gradient_allreduce_op": "avg",
    "zero_force_ds_cpu_optimizer": True,
}

BUCKETS = "gradients are reduced unit by unit (a layer, an embedding), there are no buckets"
NVME = "NVMe is not used: what is offloaded lies in host memory"
QUANTIZED = "nothing is quantized; nearest precision.reduce_dtype = working for gradients"
ZERO_FIXED = {
    "allgather_partitions": "updated parameters are always gathered",
    "allgather_bucket_size": "parameters are gathered unit by unit, there are no buckets",
    "reduce_scatter": "gradients are always reduced to the rank that keeps them",
    "reduce_bucket_size": BUCKETS,
    "contiguous_gradients": "gradients always lie in one buffer a unit",
    "use_multi_rank_bucket_allreduce": BUCKETS,
    "sub_group_size": "an update works through its shard in pieces of its own",
    "round_robin_gradients": BUCKETS,
    "memory_efficient_linear": "linear layers keep their inputs alone",
    "override_module_apply": "there is no Python module",
    "ignore_unused_parameters": "every parameter is used",
    "load_from_fp32_weights": "a checkpoint always holds fp32 masters",
    "legacy_stage1": "there is one stage 1",
    "elastic_checkpoint": "not needed: a checkpoint is read at any rank count and stage",
    "pipeline_loading_checkpoint": "every rank reads its own part of a checkpoint",
    "cpu_offload_use_pin_memory": "offloaded memory is always pinned",
}
ZERO_FEATURES = {
    "zero_hpz_partition_size": "there is one group of ranks; each node keeps one copy all the same",
    "zero_quantized_weights": QUANTIZED,
    "zero_quantized_nontrainable_weights": QUANTIZED,
    "zero_quantized_gradients": QUANTIZED,
    "zeropp_loco_param": QUANTIZED,
    "mics_shard_size": "shards go over all ranks",
    "mics_hierarchical_params_gather": "shards go over all ranks",
    "log_trace_cache_warnings": "the order of units is fixed, there is no trace",
    "enable_sanity_checks": "nearest --selfcheck, which compares the bits of all stages",
    "leaf_module": "a unit is a layer, an embedding or the output",
    "zenflow": "updates wait for all gradients; nearest zero.offload_optimizer",
}
ZERO_IDLE = {"zero_hpz_partition_size": 1, "mics_shard_size": -1}
STAGE3_FEATURES = {
    "max_reuse_distance": "a unit is let go after its use and gathered anew for the backward pass",
    "model_persistence_threshold": "nearest zero.max_live_parameters",
    "module_granularity_threshold": "a unit is a layer, an embedding or the output",
    "use_all_reduce_for_fetch_params": "a unit is always gathered in one collective",
    "gather_16bit_weights_on_model_save": "not needed: model.h5 shows whole tensors; th_inspect "
    "export writes them",
    "gather_fp16_weights_on_model_save": "not needed: model.h5 shows whole tensors; th_inspect "
    "export writes them",
}
OFFLOAD_FIXED = {
    "pin_memory": "offloaded memory is always pinned",
    "buffer_count": "staging has two places",
    "buffer_size": "staging has places of its own size",
    "convert_grad_on_cpu": "gradients are rounded where they are made",
}
OFFLOAD_FEATURES = {
    "nvme_path": NVME,
    "max_in_cpu": NVME,
    "fast_init": NVME,
    "pipeline_read": "pieces always travel beside the update",
    "pipeline_write": "pieces always travel beside the update",
    "ratio": "all states are offloaded or none",
    "super_offload": "there is one way of offloading",
    "cpuadam_cores_perc": "nearest run.threads",
}
OFFLOAD_IDLE = {"ratio": 1.0}

RECOMPUTE = "nearest model.gradient_checkpointing = full, selective or sqrt"
CHECKPOINTING = {
    "partition_activations": f"activations are not shared out; {RECOMPUTE}",
    "cpu_checkpointing": f"activations are not offloaded; {RECOMPUTE}",
    "contiguous_memory_optimization": f"activations lie as they come; {RECOMPUTE}",
    "number_checkpoints": "nearest model.gradient_checkpointing = sqrt, of about sqrt(layers)",
    "synchronize_checkpoint_boundary": "no boundary waits for the device",
    "profile": "nearest profile.enabled",
}
SAVING = {
    "tag_validation": "ranks always agree on a checkpoint's name",
    "load_universal": "not needed: a checkpoint is read at any rank count and stage",
    "use_node_local_storage": "run.output_dir is one folder for all ranks",
    "parallel_write": "every rank writes its own shard",
    "writer": "nearest checkpoint.async",
    "checkpoint_serialization": "checkpoints are HDF5",
}

FP16 = {
    "auto_cast": "inputs are ids, there is nothing to cast",
    "consecutive_hysteresis": "precision.loss_scale_hysteresis is restored when the scale doubles",
    "fp16_master_weights_and_grads": "masters are fp32; nearest precision.reduce_dtype = working",
    "fused_mode": "there is one update",
}
BF16 = {
    "immediate_grad_update": "a gradient is added when its layer's backward pass ends",
    "check_grad_overflow": "gradients are always checked; nearest train.on_not_finite = skip",
    "bf16_master_weights_and_grads": "masters are fp32; nearest optimizer.state_dtype = bf16 and "
    "precision.reduce_dtype = working",
}
AUTOCAST = {"lower_precision_safe_modules": "all products have precision.dtype"}

TENSORBOARD = {
    "output_path": "event files lie below run.output_dir/tensorboard",
    "job_name": "nearest run.output_dir, whose name is the run's",
}
FLOPS = {
    "module_depth": "the trace has every layer",
    "top_modules": "the trace has every layer",
    "detailed": "the trace has every layer",
    "output_file": "the trace is run.output_dir/trace.json",
    "recompute_fwd_factor": "the trace shows recomputation as it was",
}
