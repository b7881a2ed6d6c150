"""Where settings come from, which wins, and what is said about wrong ones."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from copy import deepcopy
from pathlib import Path

import pytest
from pydantic import SecretStr

import monostat
from monostat.cautions import AGAINST, cautions, contrast
from monostat.config import KEYS, TEXTS, Config, ConfigError, Timing
from monostat.languages import load_words
from monostat.loading import (
    Settings,
    assume_unseen,
    credentials_of,
    exposed_secrets,
    load,
    read,
    refuse_planted,
    validate,
)
from monostat.policy import policy_of

ENGLISH = load_words("en")
EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
SITE = '[site]\nname = "Shop"\nurl = "https://status.example.com"\n'
JSM = '[opsgenie]\napi = "jsm"\ncloud_id = "8f2b-1"\nemail = "ops@example.com"\napi_token = "t"\n'
MAILS = '[rapidmail]\nusername = "u"\npassword = "p"\nfrom_name = "X"\nfrom_email = "x@x.com"\n'
SLACK = '[slack]\nbot_token = "xoxb-1"\napp_token = "xapp-1"\nchannel = "C1"\n'
SECRETS = {
    "MONOSTAT_OPSGENIE__API_KEY": "5b1f0f6e-3c1d-4a53-9a2e-6f1d2c3b4a59",
    "MONOSTAT_SLACK__BOT_TOKEN": "xoxb-environment",
    "MONOSTAT_SLACK__APP_TOKEN": "xapp-environment",
    "MONOSTAT_RAPIDMAIL__USERNAME": "user",
    "MONOSTAT_RAPIDMAIL__PASSWORD": "password",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def loaded(path: Path, text: str = "", **environ: str) -> Config:
    path.write_text(SITE + text)
    return load(path, environ)


def warnings(config: Config) -> list[str]:
    return list(cautions(config))


def problems(path: Path, text: str = "", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(path, text, **environ)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def test_the_example_loads_and_shows_every_key_with_its_default(path: Path) -> None:
    manual = EXAMPLE.read_text()
    load(EXAMPLE, SECRETS)
    shown = tomllib.loads(re.sub(r"(?m)^# (?=[a-z_]+ = )", "", manual))
    every = {(section, key) for section, table in shown.items() for key in table}
    without_words = {key for key in TEXTS if f"texts.{key}" not in ENGLISH.entries}
    assert every == KEYS.keys() - {("texts", key) for key in without_words}
    for section, key in every:
        field = KEYS[section, key]
        if not field.is_required() and key not in (
            "webhook_secret",
            "control_socket",
            "metrics_listen",
        ):  # which have none
            value = shown[section][key]
            if field.default == "" and value:  # it is the catalogue's
                table = "texts" if section == "texts" else "suspicion"
                assert value == ENGLISH(f"{table}.{key.removeprefix('incident_')}")
                continue
            assert field.default == (
                tuple(value) if isinstance(value, list) else type(field.default)(value)
            ), key
    lines = manual.splitlines()
    above = [
        lines[number - 1] for number, line in enumerate(lines) if re.match("(# )?[a-z_]+ = ", line)
    ]
    assert all(re.match("# [A-Z].*[.]$", line) for line in above)


def test_the_address_of_the_page_has_no_path(path: Path) -> None:
    for url in ("https://x.example/status", "https://x.example/", "ftp://x.example", "https://"):
        path.write_text(f'[site]\nname = "Shop"\nurl = "{url}"\n')
        with pytest.raises(ConfigError, match=r"site\.url: write it like https://host, without a"):
            load(path, {})
    for url in ("https://x.example", "http://127.0.0.1:8080", "http://[::1]:8080"):
        path.write_text(f'[site]\nname = "Shop"\nurl = "{url}"\n')
        assert load(path, {}).site.url == url


def test_a_sentence_of_ones_own_stands_for_every_kind_that_has_none_of_its_own(path: Path) -> None:
    own = '[texts]\nconfirmed = "Ja."\nbug_watching = "Fast."\nplanned = "Von {start} bis {end}. Bald."\n'
    config = loaded(path, own + 'postponed = "Jetzt {start}."\n')
    texts = policy_of(config, Timing(), load_words("de")).texts
    assert (texts["confirmed"], texts["bug_confirmed"]) == ("Ja.", "Ja.")
    assert texts["bug_watching"] == "Fast."
    assert (
        texts["watching"]
        == "Das Problem ist vermutlich behoben. Wir beobachten, ob es dabei bleibt."
    )
    assert texts["maintenance_planned"] == "Bald."
    assert texts["maintenance_postponed"].startswith("Diese Wartung wurde")
    told = [one for one in warnings(config) if one.startswith("texts.")]
    assert [one.partition(":")[0] for one in told] == ["texts.planned", "texts.postponed"]


def test_without_a_section_its_integration_is_off(path: Path) -> None:
    config = loaded(path)
    assert (config.opsgenie, config.slack, config.rapidmail) == (None, None, None)
    assert config.server.listen == ("127.0.0.1:8080",)


def test_the_environment_counts_before_the_credential_and_that_before_the_file(
    path: Path, tmp_path: Path
) -> None:
    text = '[slack]\nbot_token = "xoxb-file"\napp_token = "xapp-file"\nchannel = "C1"\n'
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "monostat_slack__bot_token").write_text("xoxb-credential\n")
    (credentials / "monostat_slack__app_token").write_text("xapp-credential\n")
    config = loaded(
        path,
        text,
        CREDENTIALS_DIRECTORY=str(credentials),
        MONOSTAT_SLACK__BOT_TOKEN="xoxb-environment",
    )
    assert config.slack is not None
    assert config.slack.bot_token.get_secret_value() == "xoxb-environment"
    assert config.slack.app_token.get_secret_value() == "xapp-credential"
    config = loaded(path, text)
    assert config.slack is not None
    assert config.slack.bot_token.get_secret_value() == "xoxb-file"


def test_lists_are_json_in_the_environment_and_numbers_are_plain(path: Path) -> None:
    lists = {
        "MONOSTAT_SERVER__LISTEN": '["unix:/run/s", "[::1]:80"]',
        "MONOSTAT_SERVER__MAX_VIEWERS": "5",
        "MONOSTAT_SITE__UPDATE_EVERY": "60.5",
        "MONOSTAT_RAPIDMAIL__RECIPIENTLIST_ID": "7",
        "MONOSTAT_RAPIDMAIL__SUBSCRIBE": "off",
    }
    config = loaded(path, MAILS, **lists)
    assert config.rapidmail
    assert (config.rapidmail.recipientlist_id, config.rapidmail.subscribe) == (7, False)
    assert config.site.update_every == 60.5
    assert config.server.listen == ("unix:/run/s", "[::1]:80")
    assert config.server.max_viewers == 5
    [problem] = problems(path, MONOSTAT_SERVER__LISTEN="127.0.0.1:80")
    assert problem.startswith("MONOSTAT_SERVER__LISTEN: server.listen: ")
    assert "JSON" in problem


def test_the_database_lies_in_the_first_state_directory(path: Path) -> None:
    assert loaded(path).database.path == Path("monostat.db")
    assert loaded(path, STATE_DIRECTORY="/var/lib/a:/var/lib/b").database.path == Path(
        "/var/lib/a/monostat.db"
    )
    text = '[database]\npath = "/srv/x.db"\n'
    assert loaded(path, text, STATE_DIRECTORY="/var/lib/a").database.path == Path("/srv/x.db")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('naem = "x"\n', "site.naem: there is no such key"),
        ('timezone = "Europe"\n', "site.timezone: write a zone"),
        ("update_every = inf\n", "site.update_every: "),
        ("update_every = 0\n", "site.update_every: "),
        ("update_every = 1e12\n", "site.update_every: Input should be less than"),
        (
            '[opsgenie]\napi_key = "k"\nreopen_within = 1e12\n',
            "opsgenie.reopen_within: Input should be less than",
        ),
        ('security_expires = "2027-02-30T00:00:00Z"\n', "site.security_expires: write it like"),
        ('legal_url = "javascript:alert(1)"\n', "site.legal_url: must be an address"),
        ("[sight]\n", "sight: there is no such key"),
        ('[server]\nlisten = ["8080"]\n', "server.listen.0: write"),
        ('[server]\nlisten = ["127.0.0.1:99999"]\n', "server.listen.0: write a port"),
        ('[server]\nlisten = ["127.0.0.1:65536"]\n', "server.listen.0: write a port"),
        ('[server]\nmetrics_listen = "[::1]:65999"\n', "server.metrics_listen: write a port"),
        ('[server]\nlisten = ["status..example:80"]\n', "server.listen.0: write"),
        (f'[server]\nlisten = ["{"a" * 64}:80"]\n', "server.listen.0: write"),
        ('[server]\ntrusted_proxies = ["proxy"]\n', "server.trusted_proxies.0: write an address"),
        ('[server]\ntrusted_proxies = ["10.0.0.0/33"]\n', "server.trusted_proxies.0: write"),
        ('[server]\nmax_viewers = "many"\n', "server.max_viewers: "),
        ("[slack]\n", "slack.bot_token: it is required: add it"),
        ('[opsgenie]\napi_key = "k"\napi = "pager"\n', "opsgenie.api: "),
        (
            "[opsgenie]\n",
            'opsgenie.api_key: it is required with api = "opsgenie": add it, or remove the section to do without it',
        ),
        (
            '[opsgenie]\napi_key = ""\n',
            'opsgenie.api_key: it is required with api = "opsgenie": add it, or remove the section to do without it',
        ),
        (
            JSM.replace("cloud_id", "# cloud_id"),
            'opsgenie.cloud_id: it is required with api = "jsm": add it, or remove the section to do without it',
        ),
        (JSM.replace("s@", "s"), "opsgenie.email: write the account's address"),
        (
            JSM.replace('"t"', '""'),
            'opsgenie.api_token: it is required with api = "jsm": add it, or remove the section to do without it',
        ),
        (JSM.replace('"t"', '"t t"'), "opsgenie.api_token: write it as the vendor shows it"),
        ('[opsgenie]\napi_key = "k"\npoll_interval = 0.1\n', "opsgenie.poll_interval: "),
        (
            '[opsgenie]\napi_key = "k"\npoll_interval = 60\n',
            "opsgenie.stale_after: make it at least three times",
        ),
        (
            '[opsgenie]\napi_key = "k"\nurl = "https://api.opsgenie.com/"\n',
            "opsgenie.url: write it like",
        ),
        (
            '[opsgenie]\napi_key = "k"\nurl = "https://api.opsgenie.com:65536"\n',
            "opsgenie.url: write a port of at most 65535",
        ),
        (
            '[opsgenie]\napi_key = "k"\nurl = "https://api.opsgenie.com:99999x"\n',
            "opsgenie.url: write it like",
        ),
        ('[texts]\nconfirmed = " "\n', "texts.confirmed: write some words"),
        ("update_every = true\n", "site.update_every: write a number, without quotes"),
        ('[server]\nmax_viewers = "100"\n', "server.max_viewers: write a whole number, without"),
        ("[server]\nmax_viewers_per_ip = true\n", "server.max_viewers_per_ip: write a whole"),
        (MAILS + "recipientlist_id = true\n", "rapidmail.recipientlist_id: write a whole number"),
        (MAILS + 'recipientlist_id = 7\nsubscribe = "off"\n', "rapidmail.subscribe: write true or"),
        (MAILS + "recipientlist_id = 7\nsubscribe = 0\n", "rapidmail.subscribe: write true or"),
        (
            MAILS + 'recipientlist_id = 7\nundo_window = "0.5"\n',
            "rapidmail.undo_window: write a number, without quotes",
        ),
        (SLACK + 'remind_after = ["600"]\n', "slack.remind_after.0: write a number, without"),
        ("= 3\n", "file: "),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(path: Path, text: str, problem: str) -> None:
    found = problems(path, text)
    assert found[0].startswith(problem), found
    assert all("\n" not in one for one in found)


def test_the_credentials_of_the_other_product_may_stay_for_the_day_of_the_move(path: Path) -> None:
    config = loaded(path, JSM + 'api_key = ""\n')
    assert config.opsgenie is not None
    assert config.opsgenie.api_token.get_secret_value() == "t"
    config = loaded(
        path, JSM.replace('"jsm"', '"opsgenie"').replace('"t"', '""') + 'api_key = "k"\n'
    )
    assert config.opsgenie is not None
    assert (config.opsgenie.api_key.get_secret_value(), config.opsgenie.cloud_id) == ("k", "")


def test_all_problems_are_told_at_once(path: Path) -> None:
    path.write_text("loose = 1\n[slack]\nchannel = '#ops'\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {"MONOSTAT_SENSE__NON": "1", "MONOSTAT_SITE__URL": "ftp://x"})
    assert [problem.rpartition(": ")[0] for problem in caught.value.problems] == [
        f"{path}: loose",
        "MONOSTAT_SENSE__NON: sense.non: there is no such key",
        f"{path}: site.name: it is required",
        "MONOSTAT_SITE__URL: site.url",
        f"{path}: slack.bot_token: it is required",
        f"{path}: slack.app_token: it is required",
        f"{path}: slack.channel",
    ]


def test_a_file_that_is_not_there_or_not_text_is_a_problem(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"copy config\.example\.toml"):
        load(path, {})
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="decode"):
        load(path, {})


def test_no_error_and_no_representation_holds_a_secret(path: Path, tmp_path: Path) -> None:
    tables = "".join(f"[{section}]\n" for section in ("opsgenie", "slack", "rapidmail"))
    secrets = [key for key, field in KEYS.items() if "SecretStr" in str(field.annotation)]
    assert len(secrets) == 7
    environ = {f"MONOSTAT_{section}__{key}".upper(): "h\nunter2" for section, key in secrets}
    for api in ("opsgenie", "jsm"):
        assert "unter2" not in str(problems(path, tables, **environ, MONOSTAT_OPSGENIE__API=api))
    (tmp_path / "monostat_slack__bot_token").write_text("hunter2")
    found = problems(path, tables, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert (
        f"{tmp_path}/monostat_slack__bot_token: slack.bot_token: take the bot token, which begins with xoxb-"
        in found
    )
    assert "hunter2" not in str(found)
    assert "hunter2" not in repr(loaded(path, '[opsgenie]\napi_key = "hunter2"\n'))


def test_an_unreadable_or_unknown_credential_is_a_problem(path: Path, tmp_path: Path) -> None:
    (tmp_path / "monostat_slack__bot_token").mkdir()
    (tmp_path / "monostat_slack__bot").write_text("xoxb-1")
    found = problems(path, "[slack]\n", CREDENTIALS_DIRECTORY=str(tmp_path))
    assert [problem.split(": ")[1] for problem in found[:2]] == ["slack.bot", "slack.bot_token"]


def test_a_credential_whose_section_is_absent_is_a_note_and_turns_nothing_on(
    path: Path, tmp_path: Path
) -> None:
    path.write_text(SITE)
    credential = tmp_path / "monostat_slack__bot_token"
    credential.write_text("xoxb-1")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    settings = read(path, environ)
    assert settings.notes == [f"{credential}: not used: {path} has no section [slack]"]
    assert validate(settings).slack is None
    by_variables = {"MONOSTAT_SLACK__CHANNEL": "C1", "MONOSTAT_SLACK__APP_TOKEN": "xapp-1"}
    settings = read(path, environ | by_variables)
    assert (settings.notes, validate(settings).slack is not None) == ([], True)


def test_in_the_store_of_all_units_the_credentials_of_one_begin_with_its_name(
    tmp_path: Path,
) -> None:
    for name in ("monostat", "monostat-second", "monostat_x", "my_status"):
        (tmp_path / f"{name}_slack__bot_token").write_text("xoxb-1")

    def credentials(config: str) -> list[tuple[str, str, str]]:
        found = credentials_of(Path(config), {"CREDENTIALS_DIRECTORY": str(tmp_path)}, tmp_path)
        return [(Path(file).name, section, key) for file, section, key in found]

    for name in ("monostat-second", "my_status", "monostat_x"):
        assert credentials(f"/etc/{name}/config.toml") == [
            (f"{name}_slack__bot_token", "slack", "bot_token")
        ]
    assert credentials("/etc/monostat/config.toml") == [
        ("monostat_slack__bot_token", "slack", "bot_token"),
        ("monostat_x_slack__bot_token", "x_slack", "bot_token"),
    ]
    assert credentials_of(Path("/etc/monostat/config.toml"), {}) == []


def test_a_credential_of_another_instance_that_comes_along_is_a_note(
    path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "monostat_x_slack__bot_token"
    other.write_text("xoxb-1")
    path.write_text(SITE + SLACK)
    settings = read(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.notes == [f"{other}: not used: there is no section [x_slack]"]
    assert validate(settings).slack


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_link_that_another_user_has_planted_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(SITE)
    link = tmp_path / "config.toml"
    link.symlink_to("ours.toml")
    refuse_planted(link)
    os.chown(link, 61234, 61234, follow_symlinks=False)
    with pytest.raises(ConfigError, match="another user can write to this"):
        refuse_planted(link)


def test_a_check_notes_the_secrets_that_it_may_not_see_and_goes_on(tmp_path: Path) -> None:
    tables = {"site": {"name": "X", "url": "http://x"}, "slack": {"channel": "C1", "bot_token": ""}}
    system = next(Path("/etc").glob("*/*.conf"))  # any file that everybody may read will do
    encrypted = tmp_path / f"{system.parent.name}_slack__bot_token"
    encrypted.touch()

    def notes(config: Path, *, is_root: bool) -> list[str]:
        settings = Settings(config, deepcopy(tables), {}, [], [])
        found = assume_unseen(settings, is_root=is_root, encrypted=tmp_path)
        if len(found) == 2:
            assert validate(settings).slack, "the rest is checked"
        assert [*exposed_secrets(settings)] == []
        return found

    assert notes(system, is_root=True) == [
        f"{encrypted}: slack.bot_token: not checked: it is encrypted"
    ]
    # Others may not even look into the folder of those that are encrypted.
    assert notes(system, is_root=False) == [
        f"{system}: slack.{key}: not checked: only root may read it: run this as root"
        for key in ("bot_token", "app_token")
    ]
    assert notes(Path("/srv/config.toml"), is_root=False) == []


def test_variables_that_a_container_platform_sets_are_none_of_ours(path: Path) -> None:
    ports = {"MONOSTAT_PORT": "tcp://10.0.0.1:80", "MONOSTAT_PORT_8080_TCP_ADDR": "10.0.0.1"}
    assert loaded(path, **ports, MONOSTAT_SERVICE_HOST="10.0.0.1").site.name == "Shop"


def test_a_secret_that_every_user_may_read_is_a_warning(path: Path, tmp_path: Path) -> None:
    path.write_text(SITE + '[opsgenie]\napi_key = "k"\n[slack]\napp_token = "xapp-1"\n')
    credential = tmp_path / "monostat_slack__bot_token"
    credential.write_text("xoxb-1")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "MONOSTAT_OPSGENIE__API_TOKEN": "t"}
    path.chmod(0o644)
    credential.chmod(0o644)
    remedy = "every user may read this secret: make it a credential, or chmod o-r"
    assert [*exposed_secrets(read(path, environ))] == [
        f"{path}: opsgenie.api_key: {remedy}",
        f"{credential}: slack.bot_token: {remedy}",
        f"{path}: slack.app_token: {remedy}",
    ]
    path.chmod(0o640)
    credential.chmod(0o440)  # as systemd 257 has it
    assert [*exposed_secrets(read(path, environ))] == []


def test_a_vendor_without_tls_is_a_warning_but_on_this_machine(path: Path) -> None:
    def told(url: str) -> list[str]:
        text = f'[opsgenie]\napi_key = "k"\nurl = "{url}"\n'
        return [one for one in warnings(loaded(path, text)) if "TLS" in one]

    assert told("http://api.opsgenie.com") == [
        "opsgenie.url: without TLS, others can read the secrets on their way: use https"
    ]
    assert told("https://api.opsgenie.com") == told("http://[::1]:80") == []


def test_a_logo_that_may_not_be_read_is_a_problem_and_no_crash(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody who may not read a file")
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    (folder / "logo.svg").write_text("<svg/>")
    monkeypatch.chdir(tmp_path)
    assert loaded(path, 'logo = "kept/logo.svg"\n').site.logo
    tmp_path.chmod(0o755)
    groups = os.getgroups()
    os.setgroups([])
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match=r"site\.logo: name a file that monostat's user may"):
            load(Path(path.name), {})
    finally:
        os.seteuid(0)
        os.setgroups(groups)


def test_polling_often_is_allowed_with_a_warning(path: Path) -> None:
    often = '[opsgenie]\napi_key = "k"\npoll_interval = 0.2\nstale_after = 0.6\n'
    assert "poll_interval" in warnings(loaded(path, often))[0]
    assert not any(
        "poll_interval" in one for one in warnings(loaded(path, '[opsgenie]\napi_key = "k"\n'))
    )


def test_a_placeholder_of_the_example_that_was_left_is_noticed(path: Path) -> None:
    keys = [one.partition(":")[0] for one in warnings(load(EXAMPLE, SECRETS))]
    named = [
        "site.name",
        "site.url",
        "slack.channel",
        "rapidmail.from_name",
        "rapidmail.from_email",
    ]
    assert keys == named
    path.write_text(
        '[site]\nname = "Shop"\nurl = "https://status.shop.test"\nsupport_email = "help@example.net"\n'
    )
    [warning] = warnings(load(path, {}))
    assert warning.startswith("site.support_email: this is still the placeholder")


@pytest.mark.parametrize(
    ("name", "color"), [("link", "#ff8800"), ("link_dark", "#333399"), ("band", "#000000")]
)
def test_a_colour_that_is_hard_to_read_is_allowed_with_a_warning_that_names_the_ratio(
    path: Path, name: str, color: str
) -> None:
    ratio = contrast(color, AGAINST[name])
    assert ratio < 4.5
    about = f"site.colors.{name}: {color} has too little contrast to read, {ratio:.1f} to 1"
    found = warnings(loaded(path, f'colors = {{{name} = "{color}"}}\n'))
    assert sum(warning.startswith(about) for warning in found) == 1
    found = warnings(loaded(path, 'colors = {link = "#0a53be", band_dark = "#20242c"}\n'))
    assert not any("colors" in warning for warning in found)


def test_contrast_is_what_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_settings_cannot_be_changed(path: Path) -> None:
    config = loaded(path, '[opsgenie]\napi_key = "k"\n')
    assert config.opsgenie is not None
    with pytest.raises(ValueError, match="frozen"):
        config.opsgenie.api_key = SecretStr("other")


def test_a_catalogue_without_a_rule_for_its_plurals_is_refused_with_what_to_add(
    tmp_path: Path,
) -> None:
    """Before anything starts: the first number in a sentence would have ended the page."""
    package = Path(monostat.__file__).parent
    shutil.copytree(package, tmp_path / "monostat")
    languages = tmp_path / "monostat/languages"
    shutil.copy(languages / "en.toml", languages / "fr.toml")
    (tmp_path / "config.toml").write_text(
        '[site]\nname = "Ex"\nurl = "https://status.example.com"\nlanguage = "fr"\n'
    )
    command = [sys.executable, "-m", "monostat", "check"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    said = answer.stdout + answer.stderr
    assert answer.returncode == 78, said
    assert "site.language" in said
    assert "PLURALS in monostat/core/words.py" in said
