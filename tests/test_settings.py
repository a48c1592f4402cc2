"""Which store is meant: a pure function of arguments, environment and two configuration files."""

import pytest

from lineart.settings import CACHE_SIZE, Settings, find_settings, parse_size, sqlite_url
from lineart.storage.backends import is_local, local_path, open_backend
from lineart.storage.errors import InvalidInput


@pytest.fixture
def places(tmp_path):
    """Folders: a project with a place deep inside it, and the user's own two."""
    for name in ("project/deep/inside", "config", "data"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def find(places):
    """Settle settings for somebody who stands deep inside the project."""

    def settle(url=None, database=None, storage_options=None, project=None, **environ):
        return find_settings(
            url,
            database,
            storage_options,
            project,
            environ=environ,
            here=places / "project/deep/inside",
            user_config=places / "config",
            user_data=places / "data",
            user_cache=places / "cache",
        )

    return settle


def configure(folder, text):
    """Write a configuration file into a project, or into the user's folder."""
    folder = folder if folder.name == "config" else folder / ".lineart"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(text)


def test_without_anything_it_is_the_users_default_store(find, places):
    found = find()
    assert (found.url, found.database, found.project) == (str(places / "data/store"), None, "default")
    assert found.implicit
    assert str(found.downloads) == "artifacts"


def test_arguments_win_over_the_environment_over_the_nearest_file_over_the_users(find, places):
    configure(places / "config", '[store]\nurl = "s3://users"\nproject = "users"')
    assert (find().url, find().project) == ("s3://users", "users")
    configure(places / "project", '[store]\nurl = "s3://far"\nproject = "far"')
    assert (find().url, find().project) == ("s3://far", "far")
    configure(places / "project/deep", '[store]\nurl = "s3://near"\nproject = "near"')
    assert (find().url, find().project) == ("s3://near", "near")
    environ = {"LINEART_STORE": "s3://environment", "LINEART_PROJECT": "environment"}
    assert (find(**environ).url, find(**environ).project) == ("s3://environment", "environment")
    given = find("s3://given", project="given", **environ)
    assert (given.url, given.project) == ("s3://given", "given")


def test_only_what_nobody_named_in_a_file_or_an_argument_is_made_by_the_first_log(find, places):
    assert find().implicit
    assert find(LINEART_STORE="/somewhere").implicit
    assert find(LINEART_STORE="file:///somewhere").implicit
    assert not find(LINEART_STORE="s3://somewhere").implicit
    assert not find("/somewhere").implicit
    configure(places / "project", '[store]\nurl = "/somewhere"')
    assert not find().implicit


def test_a_variable_that_is_empty_is_as_good_as_none(find, places):
    empty = dict.fromkeys(("LINEART_STORE", "LINEART_DATABASE", "LINEART_PROJECT", "LINEART_ARTIFACT_DIR"), "")
    assert find(**empty) == find()


def test_an_empty_url_in_a_file_is_refused(find, places):
    configure(places / "project", '[store]\nurl = ""')
    with pytest.raises(InvalidInput, match="url"):
        find()


def test_a_database_of_the_configuration_belongs_to_the_store_of_the_configuration(find, places):
    configure(places / "project", '[store]\nurl = "s3://team"\ndatabase = "postgresql://team"')
    assert find().database == "postgresql://team"
    assert find("s3://team").database == "postgresql://team"
    assert find("s3://other").database is None
    assert find("s3://team", "postgresql://mine").database == "postgresql://mine"


def test_a_database_of_the_environment_is_never_taken_for_another_folders(find, places):
    environ = {"LINEART_STORE": "s3://team", "LINEART_DATABASE": "postgresql://team"}
    assert find(**environ).database == "postgresql://team"
    assert find("s3://team/branch", **environ).database == "postgresql://team"
    assert find("/tmp/demo", **environ).database is None
    assert find("/tmp/demo", "postgresql://mine", **environ).database == "postgresql://mine"
    shared = {"LINEART_STORE": "/mnt/team", "LINEART_DATABASE": "postgresql://team"}
    assert find("/mnt/team", **shared).database == "postgresql://team"
    assert find(LINEART_DATABASE="postgresql://team").database == "postgresql://team"
    configure(places / "project", '[store]\nurl = "/mnt/configured"')
    assert find(LINEART_DATABASE="postgresql://team").database == "postgresql://team"
    assert find("/mnt/configured", LINEART_DATABASE="postgresql://team").database == "postgresql://team"


def test_options_of_the_configuration_go_with_its_store_and_arguments_replace_them(find, places):
    configure(places / "project", '[store]\nurl = "s3://team"\n[storage_options]\nprofile = "team"\nretries = 3')
    assert find().storage_options == {"profile": "team", "retries": 3}
    assert find("s3://team/").storage_options == {"profile": "team", "retries": 3}
    assert find("s3://other").storage_options == {}
    assert find("s3://team", storage_options={}).storage_options == {}
    assert find("s3://team", storage_options={"anon": True}).storage_options == {"anon": True}


def test_options_of_a_configuration_that_names_no_store_go_with_any(find, places):
    configure(places / "config", '[storage_options]\nendpoint_url = "http://minio"')
    assert find("s3://other").storage_options == {"endpoint_url": "http://minio"}
    assert find(LINEART_STORE="s3://other").storage_options == {"endpoint_url": "http://minio"}


def test_a_relative_folder_is_relative_to_the_file_that_names_it(find, places):
    configure(places / "project", '[store]\nurl = "../store"')
    assert local_path(find().url).resolve() == places / "project/store"
    configure(places / "project", '[store]\nurl = "/elsewhere"')
    assert find().url == "/elsewhere"


def test_downloads_go_where_environment_or_configuration_say(find, places):
    configure(places / "project", '[store]\ndownloads = "there"')
    assert str(find().downloads) == "there"
    assert str(find(LINEART_ARTIFACT_DIR="/here").downloads) == "/here"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[store", "config.toml cannot be read"),
        ("\x00", "cannot be read"),
        ("[stores]\nurl = 'x'", r"\[stores\]"),
        ("url = 'x'", r"\[url\]"),
        ("[store]\nurls = 'x'", "'urls'"),
        ("[store]\nurl = 3", "'url'"),
        ("[store]\nproject = ['a']", "'project'"),
        ("storage_options = 3", "storage_options"),
    ],
)
def test_a_bad_configuration_is_refused_by_its_name_and_what_is_bad(find, places, text, word):
    configure(places / "project", text)
    with pytest.raises(InvalidInput, match=word) as caught:
        find()
    assert str(places / "project/.lineart/config.toml") in str(caught.value)


def test_a_configuration_that_is_not_text_is_refused(find, places):
    (places / "project/.lineart").mkdir()
    (places / "project/.lineart/config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="cannot be read"):
        find()


def test_a_folder_with_the_name_of_the_configuration_is_passed_over(find, places):
    (places / "project/.lineart/config.toml").mkdir(parents=True)
    assert find().url == str(places / "data/store")


LOCAL = ["/a/b", "a", "file:///a/b", "file:///a%20b", "FILE:///a/b", "file://localhost/a", "local:///a/b", "~/a"]


@pytest.mark.parametrize("url", LOCAL)
def test_a_local_url_means_the_same_folder_to_settings_and_backend(url):
    assert is_local(url)
    assert str(local_path(url)) == open_backend(url).url


@pytest.mark.parametrize("url", ["s3://bucket/a", "gs://bucket", "memory://a", "https://x"])
def test_other_urls_are_not_local(url):
    assert not is_local(url)


def test_a_folder_holds_its_sqlite_file_and_a_buckets_is_in_the_users_data(find, places):
    assert sqlite_url(find("/a/b c%20"), places) == "sqlite:////a/b c%20/lineart.db"
    first, same, other = (sqlite_url(find(url), places) for url in ("s3://team", "s3://team/", "s3://team/x"))
    assert first == same != other
    assert first.startswith(f"sqlite:///{places}/databases/")


def test_settings_can_be_compared_and_not_changed(find):
    assert find() == find()
    with pytest.raises(AttributeError):
        find().url = "x"
    assert isinstance(find(), Settings)


def test_the_cache_is_the_users_unless_a_file_or_the_environment_says_otherwise(find, places):
    assert (find().cache, find().cache_size) == (places / "cache", CACHE_SIZE)
    configure(places / "project", '[cache]\nfolder = "scratch"\nsize = "1.5 GiB"')
    assert (find().cache, find().cache_size) == (places / "project/.lineart/scratch", 3 << 29)
    there = find(LINEART_CACHE_DIR="/scratch/ann", LINEART_CACHE_SIZE="0")
    assert (str(there.cache), there.cache_size) == ("/scratch/ann", 0)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("12", 12), ("1kB", 1000), ("2 KiB", 2048), (" 1.5 gib ", 3 << 29)]
)
def test_a_size_is_read_as_people_write_it(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 XB", "1e9", "1,5 GiB", "nan"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InvalidInput, match="is not a size"):
        parse_size(text)
