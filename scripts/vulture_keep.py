"""Names that vulture sees no use of, because a framework, a protocol or a reader outside of Python uses them."""

# Called by Python or by a library by its name.
_.__getattr__  # module attributes, loaded when asked for
_.forward  # torch.nn.Module
_.model_config  # pydantic
_.unsafe_undefined  # jinja2's sandbox
_.globals  # jinja2's environment
_.row_factory  # sqlite3
_.text_factory  # sqlite3
_.encode_special_tokens  # tokenizers
_.pre_tokenizer  # tokenizers
_.normalizer  # tokenizers
_.post_processor  # tokenizers
_.capture_signals  # uvicorn
_.middleware_stack  # starlette
_._step_supports_amp_scaling  # noqa: SLF001 - torch.amp.GradScaler reads it

# Named in annotations alone, where the library is an extra.
Axes  # matplotlib

# Arguments that a caller's contract has.
exception  # __exit__
frame  # a signal handler

# Fields that leave the process: in manifests, reports, events, answers of the API.
_.metric  # GateReport
_.intervals  # GateReport
_.num_citations  # Judged
_.citations_resolved  # the demo's Report
_.citations_supported  # the demo's Report
_.exact  # Judged, Summary
_.extracted  # Summary
_.abstained_answerable  # Summary
_.difference  # Comparison
_.grad_norm  # the metrics of a step
_.pid  # Run
_.unchanged  # SyncReport

# Columns of a row that is decoded by position.
_.since
_.until

# Each family's smallest configuration: the tests of families walk them.
_.tiny

# The life of a model: the tests hold folders, commands and the guide against it.
STAGES
_.purpose
_.commands

# The formula as it reads: what tests hold the real ones against.
reference_attend
reference_scan
_.num_numbers  # of the plain cache: what `describe` says is held against it
Mixer  # what every mixer is

# Fields that serve/fields.py finds by their names.
_.guided_json
_.guided_regex
_.guided_choice
_.guided_grammar

# Figures of an engine: observe/prometheus.py reads them by their names.
_.num_running
_.num_waiting
_.kv_use
_.prefix_queries
_.prefix_hits
_.num_preemptions
_.draft_tokens
_.accepted_tokens

# Fields of requests that are accepted and change nothing; the modules that have them say why.
_.effort
_.display
_.thinking
_.completion_window
_.prompt_cache_breakpoint
_.reasoning
