"""What is hidden, and what must stay readable."""

from __future__ import annotations

import doctest

import pytest

import lineart.lineage.masking as module
from lineart.lineage.masking import MASK, is_secret, mask_arguments, mask_mapping, mask_text


@pytest.mark.parametrize(
    "name",
    ["token", "HF_TOKEN", "--api-key", "apiKey", "apikey", "password", "db.password", "AWS_SECRET_ACCESS_KEY", "key",
     "clientSecret", "authtoken", "PGPASSWORD", "ssh-key", "+store.secret", "passphrase"],
)  # fmt: skip
def test_names_that_tell_a_secret(name):
    assert is_secret(name, "x")
    assert is_secret(name)


@pytest.mark.parametrize("name", ["tokenizer", "max_tokens", "monkey", "keyboard", "lr", "keep", "secretary", ""])
def test_names_that_tell_none(name):
    assert not is_secret(name, "x")


def test_numbers_stay_where_the_telling_word_is_not_the_last():
    assert not is_secret("num_key_value_heads", 8)
    assert not is_secret("pad_token_id", "0")
    assert is_secret("password", 1234)
    assert is_secret("token", "123456")
    assert is_secret("key_file", "/home/ana/id")


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        (["t.py", "--api-key", "abc"], ["t.py", "--api-key", MASK]),
        (["t.py", "--password=a=b c"], ["t.py", f"--password={MASK}"]),
        (["env", "TOKEN=abc", "x"], ["env", f"TOKEN={MASK}", "x"]),
        (["t.py", "-token", "-starts-with-dash"], ["t.py", "-token", MASK]),
        (["t.py", "--use-key", "--lr", "3"], ["t.py", "--use-key", "--lr", "3"]),
        (["t.py", "--key"], ["t.py", "--key"]),
        (["t.py", "--num-key-value-heads", "8"], ["t.py", "--num-key-value-heads", "8"]),
        (["t.py", "--num-key-value-heads=8"], ["t.py", "--num-key-value-heads=8"]),
        (["t.py", "++db.password=x"], ["t.py", f"++db.password={MASK}"]),
        (["t.py", "--db=postgresql://ana:pw@h/d"], ["t.py", f"--db=postgresql://ana:{MASK}@h/d"]),
        (["t.py", "https://h/x?a=1&sig=abc"], ["t.py", f"https://h/x?a=1&sig={MASK}"]),
        (["curl", "-H", "Authorization: Bearer abc"], ["curl", "-H", f"Authorization: {MASK} {MASK}"]),
        (
            ["sh", "-c", "run TOKEN=abc --password 'x y' --lr 3"],
            ["sh", "-c", f"run TOKEN={MASK} --password {MASK} --lr 3"],
        ),
        (["python", "-c", "api_key = 'abc'; print(1)"], ["python", "-c", f"api_key = {MASK}; print(1)"]),
        (["python", "-c", 'f({"token": "abc", "lr": 3})'], ["python", "-c", f'f({{"token": {MASK}, "lr": 3}})']),
        (["sh", "-c", "TOKEN=abc run"], ["sh", "-c", f"TOKEN={MASK}"]),
        (["sh", "-c", "lr=3 run --token abc"], ["sh", "-c", f"lr=3 run --token {MASK}"]),
        ([], []),
        (["--lr", "3", "tokenizer=bpe"], ["--lr", "3", "tokenizer=bpe"]),
    ],
)
def test_arguments(given, masked):
    assert mask_arguments(given) == masked


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        ("https://ghp_abc@github.com/o/r", f"https://{MASK}@github.com/o/r"),
        ("https://u:p@h:8080/r", f"https://u:{MASK}@h:8080/r"),
        ("https://u:p@ss@h/r", f"https://u:{MASK}@h/r"),
        ("https://:p@h/r", f"https://:{MASK}@h/r"),
        ("ssh://git@github.com/o/r", "ssh://git@github.com/o/r"),
        ("git@github.com:o/r.git", "git@github.com:o/r.git"),
        ("mail ana@example.org about https://h/r@v2", "mail ana@example.org about https://h/r@v2"),
    ],
)
def test_urls(given, masked):
    assert mask_text(given) == masked


def test_config_loses_the_values_of_telling_keys_at_any_depth():
    config = {
        "lr": 0.1,
        "wandb": {"api_key": "x", "hosts": [{"password": 5, "name": "a"}]},
        "token": None,
        "keys": {"a": 1},
    }
    assert mask_mapping(config) == {
        "lr": 0.1,
        "wandb": {"api_key": MASK, "hosts": [{"password": MASK, "name": "a"}]},
        "token": None,
        "keys": {"a": 1},
    }
    assert mask_mapping({"url": "s3://k:s@h/x", "key": {"deep": 1}}) == {"url": f"s3://k:{MASK}@h/x", "key": MASK}


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0
