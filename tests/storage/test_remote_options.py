"""Where a remote store lies, and the options that may not be shown."""

from __future__ import annotations

import pytest

from checkmaite_core.errors import ConfigurationError, UnknownOptionError
from checkmaite_storage._remote import Location, check_option_names, parse_location, secret_values
from checkmaite_storage._remote._options import scrub


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIAEXAMPLE:hunter2@bucket/prefix",
        "s3://hunter2@bucket/prefix",
        "s3://bucket/prefix?sig=hunter2",
        "s3://bucket?token=hunter2",
        "s3://bucket/prefix#hunter2",
        "s3://hunter2:",
        "s3://",
        "s3:///hunter2",
        "s3://hun ter2/x",
        "http://hunter2/x",
        "s3://bucket/../hunter2",
    ],
)
def test_a_uri_with_credentials_or_of_another_form_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_location(uri, ("s3",), scheme="s3", credentials="Use the environment.")
    assert "hunter2" not in str(caught.value) or ".." in uri  # a path is no secret


def test_a_location_is_taken_as_it_is_written() -> None:
    location = parse_location("S3A://my.bucket//a b/100%25//", ("s3", "s3a"), scheme="s3", credentials="")
    assert location == Location("s3", "my.bucket", "a b/100%25")
    assert location.uri == "s3://my.bucket/a b/100%25"


def test_an_unknown_option_is_named_with_the_nearest_known_and_without_its_value() -> None:
    with pytest.raises(UnknownOptionError, match=r"no option 'endpoint'.*\n.*'endpoint_url'.*Known: endpoint_url, key"):
        check_option_names({"endpoint": "hunter2"}, {"endpoint_url", "key"})


def test_what_must_not_be_shown_is_found_at_any_depth() -> None:
    options = {
        "key": "long-key",
        "client_kwargs": {"aws": ["deep-one", b"as-bytes"]},
        "endpoint_url": "http://x",
        "n": 1,
    }
    assert secret_values(options, {"endpoint_url"}) == {"long-key", "deep-one", "as-bytes"}
    assert scrub("long-key and long-key-deep-one", secret_values(options)) == "*** and ***-***"
