import pytest

from settings import Settings, SettingsError


def test_defaults_are_the_articles() -> None:
    assert Settings.from_environment({}) == Settings(wait_seconds=0.2, log_level="INFO", port=8040, generation=None)


def test_every_setting_is_read() -> None:
    assert Settings.from_environment(
        {
            "APP_WAIT_SECONDS": "1.5",
            "APP_LOG_LEVEL": "debug",
            "APP_PORT": "9000",
            "FLASK_UWSGI_GENERATION": "4f1c09",
        }
    ) == Settings(wait_seconds=1.5, log_level="DEBUG", port=9000, generation="4f1c09")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("APP_WAIT_SECONDS", "soon", "a number of seconds"),
        ("APP_WAIT_SECONDS", "0,2", "a number of seconds"),
        ("APP_WAIT_SECONDS", "-1", "0 or more"),
        ("APP_WAIT_SECONDS", "nan", "a number of seconds"),
        ("APP_WAIT_SECONDS", "inf", "a number of seconds"),
        ("APP_WAIT_SECONDS", "", "unset it for 0.2"),
        ("APP_LOG_LEVEL", "loud", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("APP_PORT", "http", "a port number"),
        ("APP_PORT", "65536", "a port number"),
    ],
)
def test_a_bad_value_is_named_with_its_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({name: value})

    assert f"{name}={value!r}" in str(caught.value)
    assert remedy in str(caught.value)
