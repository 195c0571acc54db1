"""What TRL, LLaMA-Factory, Axolotl, lm-eval and others call things, and what to write here instead."""

from __future__ import annotations

__all__ = ["called_here", "kind_elsewhere", "known_elsewhere"]

_CALLED: dict[str, str] = {
    "student": "model model_name model_name_or_path model_id model_args base_model pretrained student_model",
    "task": "data dataset datasets dataset_name dataset_path dataset_dir data_path data_files train_file train_data "
    "train_dataset",
    "task.columns": "dataset_text_field prompt_column response_column field_instruction",
    "task.num_test": "limit max_eval_samples",
    "task.num_train": "max_samples max_train_samples",
    "name": "run_name experiment_name",
    "training.batch_size": "per_device_train_batch_size per_device_batch_size train_batch_size micro_batch_size bs",
    "training.epochs": "num_train_epochs num_epochs n_epochs max_epochs",
    "training.learning_rate": "lr",
    "training.max_length": "max_seq_length max_seq_len sequence_len cutoff_len model_max_length block_size",
    "training.warmup_share": "warmup_ratio warmup_steps",
    "training.schedule": "lr_scheduler_type lr_scheduler",
    "training.dtype": "bf16 fp16 torch_dtype precision mixed_precision",
    "training.optimizer": "optim",
    "training.checkpoint_every": "save_steps save_strategy",
    "training.validation": "eval_steps eval_strategy evaluation_strategy val_set_size load_best_model_at_end "
    "early_stopping_patience",
    "training.track": "report_to wandb wandb_project",
    "training.attention": "flash_attn flash_attention attn_implementation",
    "training.packing": "sample_packing",
    "training.max_grad_norm": "gradient_clipping clip_grad",
    "evaluation.few_shot": "num_fewshot",
    "evaluation.max_new_tokens": "max_gen_toks max_tokens gen_kwargs",
}
_WRITTEN: dict[str, str] = {
    "write training.adapter: {kind: lora, rank: 16}": "lora lora_r lora_rank lora_alpha lora_dropout lora_target "
    "lora_target_modules peft peft_config use_peft finetuning_type",
    "write training.adapter: {kind: lora, quantize: 4bit}": "load_in_4bit load_in_8bit quantization_bit",
    "write training.loss: {kind: forward_kl, temperature: 2.0}": "temperature",
    "write training.loss: {kind: jensen_shannon, beta: 0.5}": "beta",
    "write training.on_policy: {share: 0.5}": "lmbda",
    "write training.signal: {model: NAME} for its distributions, teacher: {kind: transformers, model: NAME} for "
    "rationales": "teacher_model teacher_model_name_or_path teacher_name_or_path",
    "write task: {train: FILE, test: FILE}": "test_file test_data eval_dataset validation_file eval_file",
    "write task: {train: FILE} or {hub: NAME}": "path file files",
    "write grid: {seed: [0, 1, 2]}": "seeds",
    "write seed at the top of the file": "data_seed",
    "leave it out: batch_size is a whole step, and max_batch_tokens how much passes at once":
        "gradient_accumulation_steps",
    "leave it out: the model's own chat template is used": "template chat_template",
    "leave it out: run trains and tests": "stage do_train do_eval do_predict",
    "leave it out: every step is in metrics.jsonl": "logging_steps logging_strategy",
    "leave it out: results go into runs/, or where --runs says": "output_dir out_dir save_dir output",
    "leave it out: a GPU is used where there is one": "device device_map cuda",
    "leave it out, and start the command with accelerate launch": "deepspeed fsdp fsdp_config num_processes",
    "leave it out: the loss is fused": "use_liger_kernel liger_kernel",
    "leave it out: the same command continues": "resume resume_from_checkpoint overwrite_output_dir",
}  # fmt: skip
_REMEDIES = {
    **{name: f"here it is {key!r}" for key, names in _CALLED.items() for name in names.split()},
    **{name: remedy for remedy, names in _WRITTEN.items() for name in names.split()},
}
_KINDS = {
    "forward_kl": "kl kld kl_div fkl logits", "reverse_kl": "rkl", "jensen_shannon": "js jsd gkd",
    "cross_entropy": "ce sft nll", "hidden_mse": "mse hidden", "total_variation": "tv tvd l1",
    "answer_only": "none answers answer labels", "human": "file dataset_rationales gold people",
}  # fmt: skip
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split()}


def known_elsewhere(name: str) -> str | None:
    """What to do about a key of another tool; None for a name that none has."""
    return _REMEDIES.get(name.lower().replace("-", "_"))


def called_here(name: str) -> str | None:
    """Our key for what another tool calls so; None if there is none."""
    return next((key for key, names in _CALLED.items() if name in names.split()), None)


def kind_elsewhere(name: str, kinds: list[str]) -> str | None:
    """Which of ``kinds`` another word means; None for a word that means none of them."""
    kind = _KIND_OF.get(name.lower())
    return f"here it is {kind!r}" if kind in kinds else None
