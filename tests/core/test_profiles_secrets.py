"""Secrets in profile files: refused where they can be seen, and never repeated."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from checkmaite_core import ConfigurationError
from checkmaite_core.profiles import load_profiles
from checkmaite_core.profiles._secrets import secrets_in

SECRET = "wJalrXUtnFEMI-planted"
INDEX = "--index" + "-url"  # in two parts: no file of the project names an index
STORE = "analytics_store.storage_options"
VARIABLES = "runtime_env.env_vars"


@pytest.mark.parametrize(
    "pair",
    [
        f'{STORE}.secret = "{SECRET}"',
        f'{STORE}.key = "{SECRET}"',
        f'{STORE}.token = "{SECRET}"',
        f'{STORE}.account_key = "{SECRET}"',
        f'{STORE}.sas_token = "{SECRET}"',
        f'{STORE}.client_kwargs = {{ aws_secret_access_key = "/{SECRET}" }}',
        f'{STORE}.connection_string = "{SECRET}"',
        f'{STORE}.dsn = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}"',
        f'{VARIABLES}.AWS_SECRET_ACCESS_KEY = "{SECRET}"',
        f'{VARIABLES}.AWS_SESSION_TOKEN = "{SECRET}"',
        f'{VARIABLES}.PGPASSWORD = "{SECRET}"',
        f'{VARIABLES}.MODEL_API_KEY = "{SECRET}"',
        f'{VARIABLES}.REGISTRY = "https://{SECRET}@registry.internal"',
        f'{VARIABLES}.DATABASE = "postgresql://me:{SECRET}@host/db"',
        f'{VARIABLES}.DATASET = "https://account.blob.core.windows.net/c/b?sv=1&sig={SECRET}"',
        f'{VARIABLES}.NOTES = """-----BEGIN RSA PRIVATE KEY-----\n{SECRET}"""',
        f'{VARIABLES}.ID = "AKIAIOSFODNN7EXAMPLE"',
        f'runtime_env.pip = ["small", "{INDEX}=https://me:{SECRET}@pypi.internal/index"]',
        f'runtime_env.config = [{{ clientSecret = "{SECRET}" }}]',
        f'address = "ray://me:{SECRET}@head:10001"',
    ],
)
def test_a_secret_is_refused_with_its_line_and_not_shown(tmp_path: Path, pair: str) -> None:
    path = tmp_path / "checkmaite.toml"
    path.write_text(f'[profiles.p]\nbackend = "ray"\nanalytics_store.uri = "s3://b/p"\n{pair}\n')
    with pytest.raises(ConfigurationError) as caught:
        load_profiles(path)
    assert caught.value.message.startswith(f"{path}:4: ")
    assert caught.value.message.endswith("holds a secret (not shown).")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "environment" in caught.value.hint


def test_what_only_refers_to_a_secret_may_stand_in_a_profile() -> None:
    text = f"""
{STORE}.anon = false
{STORE}.profile = "team-a"
{STORE}.token = "google_default"
{STORE}.account_name = "team"
{STORE}.endpoint_url = "https://minio.internal:9000"
{STORE}.client_kwargs = {{ region_name = "us-east-1" }}
{VARIABLES}.AWS_WEB_IDENTITY_TOKEN_FILE = "/var/run/secrets/token"
{VARIABLES}.GOOGLE_APPLICATION_CREDENTIALS = "/etc/gcp/key.json"
{VARIABLES}.HF_TOKEN = "/etc/hf/token"
{VARIABLES}.VAULT_TOKEN = ""
{VARIABLES}.TOKENIZERS_PARALLELISM = "false"
{VARIABLES}.MODEL_REGISTRY_URL = "https://registry.internal"
{VARIABLES}.PARTITION_KEY = "day"
idempotency_scope = "team-a-prod-evals"
address = "ray://cluster-head:10001"
runtime_env.pip = ["git+ssh://git@github.com/team/small"]
"""
    assert list(secrets_in(tomllib.loads(text))) == []
