"""Bundles from an update server: a real web server that cuts, lies and redirects, and one that plays old indices."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import certificates
from servers import Site, serving

from convert.publish import publish
from device import files, installed, schema
from device.bundle import Bundle, Meta, load_bundle, sign_bundle, write_bundle
from device.errors import Refused, UserError
from device.fleet import download, index, newest
from device.fleet.download import Server
from device.fleet.newest import FOLDER, Outcome
from device.main import main
from device.signing import NotTrusted, new_key, signature_of
from device.trust import Trust

UNIT = "0123456789abcdef"


def dated(source: Path, folder: Path, created: str, key: Path) -> Bundle:
    """The bundle of another day."""
    meta: Meta = dataclasses.replace(load_bundle(source).meta, created=created)
    write_bundle(folder, source / "model.tflite", meta)
    sign_bundle(folder, key)
    return load_bundle(folder)


@pytest.fixture(scope="module")
def bundles(bundle_dir: Path, maker_key: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Three bundles of one maker, of three days."""
    folder = tmp_path_factory.mktemp("dated")
    days = {"old": "2024-01-01", "middle": "2025-01-01", "new": "2026-01-01"}
    made = bundle_dir / "float32"
    return {name: dated(made, folder / name, f"{day}T00:00:00+00:00", maker_key) for name, day in days.items()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(tmp_path / "www") as made:
        yield made


@pytest.fixture
def models(bundles: dict[str, Bundle], trusted_keys: Path, tmp_path: Path) -> Path:
    """A machine whose model is the one in the middle."""
    installed.install(bundles["middle"].folder, tmp_path / "models", Trust((trusted_keys,)))
    return tmp_path / "models"


class Fetch:
    """`newest.fetch` from this site into these models; waited: the pauses that it asked for."""

    def __init__(self, site: Site, models: Path, keys: Path) -> None:
        self._site, self._models, self._keys = site, models, keys
        self.waited: list[float] = []

    def __call__(self, **how: bool) -> Outcome:
        server = Server(self._site.url, plain=True)
        return newest.fetch(server, self._models, (self._keys,), lambda: UNIT, wait=self.waited.append, **how)


@pytest.fixture
def fetch(site: Site, models: Path, trusted_keys: Path) -> Fetch:
    return Fetch(site, models, trusted_keys)


def current(models: Path) -> str:
    return load_bundle(installed.current(models)).id


def archive_of(bundle: Bundle) -> str:
    return f"bundles/{bundle.id}.tar"


def test_a_published_bundle_is_installed_once(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path
) -> None:
    new = bundles["new"]
    made = publish(new.folder, site.folder, maker_key)
    assert (made.sequence, made.percent, made.bundle.id) == (1, 100, new.id)
    outcome = fetch()
    assert outcome.bundle.id == current(models) == new.id
    assert current(models) != bundles["middle"].id
    assert load_bundle(installed.current(models, installed.PREVIOUS)).id == bundles["middle"].id
    assert [path.name for path in (models / FOLDER).iterdir()] == ["seen.json"]
    asked = len(site.asked)
    assert fetch() == Outcome(None, f"bundle {new.id} is the newest, and the one that is installed.")
    assert [path for path, _ in site.asked[asked:]] == ["index.json", "index.json.sig"], "not downloaded again"
    assert fetch.waited == []


def test_a_cut_connection_is_resumed_within_a_run_and_by_the_next(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path
) -> None:
    new = bundles["new"]
    size = publish(new.folder, site.folder, maker_key).bundle.bytes
    path = archive_of(new)
    site.cut[path] = [1000, 0, 500]
    assert fetch().bundle.id == new.id
    assert [wanted for asked, wanted in site.asked if asked == path] == [
        *(None, "bytes=1000-", "bytes=1000-", "bytes=1500-"),
    ]
    assert fetch.waited == [1.0, 2.0, 1.0]
    installed.rollback(models, Trust(fetch._keys and (fetch._keys,)))
    site.cut[path] = [700] + [0] * download.FAILURES
    site.asked.clear()
    with pytest.raises(UserError, match=rf"broken off after 700 of {size} bytes .*; run it again, it goes on there"):
        fetch(at_once=True)
    assert current(models) == bundles["middle"].id
    assert fetch(at_once=True).bundle.id == new.id
    assert site.asked[-1] == (path, "bytes=700-")


def test_a_server_without_ranges_or_with_another_range_starts_over(
    bundles: dict[str, Bundle], site: Site, fetch: Fetch, maker_key: Path
) -> None:
    new = bundles["new"]
    size = publish(new.folder, site.folder, maker_key).bundle.bytes
    path = archive_of(new)
    site.ranges, site.cut[path] = False, [1000]
    assert fetch().bundle.id == new.id
    publish(bundles["old"].folder, site.folder, maker_key)
    path, site.ranges = archive_of(bundles["old"]), True
    site.cut[path] = [10] * 99
    site.headers[path] = {"Content-Range": f"bytes 0-{size - 1}/{size}"}  # never the range that was asked for
    with pytest.raises(UserError, match="broken off after"):
        fetch(older=True)
    site.headers.clear()
    site.cut.clear()
    assert fetch(older=True).bundle.id == bundles["old"].id


def test_errors_of_the_server_are_waited_for_or_told(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path
) -> None:
    with pytest.raises(UserError, match=r"index\.json: the server answers 404 Not Found; nothing was installed\.$"):
        fetch()
    new = bundles["new"]
    publish(new.folder, site.folder, maker_key)
    site.status[archive_of(new)] = [503, 403]
    with pytest.raises(UserError, match="the server answers 403 Forbidden; nothing was installed"):
        fetch()
    assert fetch.waited == [2.0]
    assert current(models) == bundles["middle"].id
    assert fetch().bundle.id == new.id


def test_an_archive_with_a_wrong_hash_is_thrown_away(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path
) -> None:
    new = bundles["new"]
    size = publish(new.folder, site.folder, maker_key).bundle.bytes
    archive = site.folder / archive_of(new)
    right = archive.read_bytes()
    archive.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    with pytest.raises(UserError, match="wrong hash, it is not the file of the index; nothing was installed"):
        fetch()
    archive.write_bytes(right + b"more")
    with pytest.raises(UserError, match=f"has {size + 4} bytes where the index says {size}; nothing was installed"):
        fetch()
    assert current(models) == bundles["middle"].id
    assert not list((models / FOLDER).glob("*.part"))
    archive.write_bytes(right)
    assert fetch().bundle.id == new.id


def signed(site: Site, key: Path, **changed: object) -> None:
    """Change keys of the index, `bundle_...` those of its entry, and sign it."""
    data = json.loads((site.folder / index.INDEX_FILE).read_bytes())
    for name, value in changed.items():
        of = data["bundle"] if name.startswith("bundle_") else data
        of[name.removeprefix("bundle_")] = value
    written = json.dumps(data).encode()
    files.write_bytes(site.folder / index.INDEX_FILE, written)
    files.write_bytes(site.folder / index.SIGNATURE_FILE, signature_of(written, key))


def test_an_index_that_no_trusted_key_signed_is_refused_before_anything_is_asked_for(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path, tmp_path: Path
) -> None:
    publish(bundles["new"].folder, site.folder, maker_key)
    right = (site.folder / index.INDEX_FILE).read_bytes()
    new_key(tmp_path / "other")
    signed(site, tmp_path / "other")
    for name, data in (
        (index.SIGNATURE_FILE, None),
        (index.SIGNATURE_FILE, b"no base64"),
        (index.SIGNATURE_FILE, signature_of(b"another text", maker_key)),
        (index.SIGNATURE_FILE, (bundles["new"].folder / "bundle.sig").read_bytes()),
        (index.INDEX_FILE, right.replace(b"100", b"099")),
    ):
        if data is not None:
            (site.folder / name).write_bytes(data)
        with pytest.raises(NotTrusted, match=r"index\.json: signed by none of the keys in .*; nothing was installed"):
            fetch()
    assert {path for path, _ in site.asked} == {"index.json", "index.json.sig"}
    assert not (models / FOLDER / "seen.json").exists()
    assert current(models) == bundles["middle"].id


def test_the_two_files_of_an_index_may_be_caught_in_the_midst_of_being_replaced(
    bundles: dict[str, Bundle], site: Site, trusted_keys: Path, models: Path, maker_key: Path
) -> None:
    publish(bundles["old"].folder, site.folder, maker_key)
    old = (site.folder / index.INDEX_FILE).read_bytes()
    publish(bundles["new"].folder, site.folder, maker_key)
    new = (site.folder / index.INDEX_FILE).read_bytes()
    (site.folder / index.INDEX_FILE).write_bytes(old)

    def replaced(_: float) -> None:
        (site.folder / index.INDEX_FILE).write_bytes(new)

    outcome = newest.fetch(Server(site.url, plain=True), models, (trusted_keys,), lambda: UNIT, wait=replaced)
    assert outcome.bundle.id == bundles["new"].id


def test_an_old_index_cannot_be_played_again(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path, tmp_path: Path
) -> None:
    publish(bundles["old"].folder, site.folder, maker_key)
    shutil.copytree(site.folder, tmp_path / "recorded")
    publish(bundles["new"].folder, site.folder, maker_key, percent=0)
    assert "not yet for this one" in fetch().why
    site.folder = tmp_path / "recorded"
    with pytest.raises(Refused, match=r"sends index 1, but 2 was seen before: somebody plays an old one again"):
        fetch(older=True, at_once=True)
    signed(site, maker_key, sequence=2)
    with pytest.raises(Refused, match="sends index 2, but another 2 was seen before"):
        fetch(older=True)
    assert current(models) == bundles["middle"].id
    (models / FOLDER / "seen.json").write_text("{")
    with pytest.raises(UserError, match=r"seen\.json: cannot be read"):
        fetch(older=True)


def test_nothing_older_is_installed_unless_asked(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path
) -> None:
    old, middle = bundles["old"], bundles["middle"]
    publish(old.folder, site.folder, maker_key)
    with pytest.raises(Refused, match=rf"bundle {old.id} of 2024-.* is older than {middle.id} of 2025-.*; allow it"):
        fetch()
    assert fetch(older=True).bundle.id == old.id == current(models)


def test_what_was_rolled_back_here_does_not_come_back_by_itself(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path, trusted_keys: Path
) -> None:
    publish(bundles["new"].folder, site.folder, maker_key)
    fetch()
    installed.rollback(models, Trust((trusted_keys,)))
    assert "was rolled back here" in fetch().why
    assert current(models) == bundles["middle"].id
    assert fetch(at_once=True).bundle.id == bundles["new"].id


def test_software_that_is_too_old_says_so(bundles: dict, site: Site, fetch: Fetch, maker_key: Path) -> None:
    publish(bundles["new"].folder, site.folder, maker_key, minimum_version="99.1")
    with pytest.raises(Refused, match=r"needs busi-kd 99\.1 or newer; update the software first\.$"):
        fetch()


def test_the_archive_holds_the_bundle_of_the_index_and_nothing_else(
    bundles: dict[str, Bundle], site: Site, models: Path, fetch: Fetch, maker_key: Path
) -> None:
    """Even what the maker has signed by mistake is not installed."""
    publish(bundles["old"].folder, site.folder, maker_key)
    other = schema.dump(publish(bundles["old"].folder, site.folder, maker_key).bundle)
    publish(bundles["new"].folder, site.folder, maker_key)
    signed(site, maker_key, **{f"bundle_{name}": other[name] for name in ("path", "bytes", "sha256")})
    with pytest.raises(UserError, match="holds another bundle than the index says; publish anew"):
        fetch()
    junk = site.folder / "bundles/junk.tar"
    for data, said in (
        (b"no archive" * 100, "is no archive of a bundle"),
        (bytes(10240), "lacks bundle.json and bundle.sig and model.tflite"),
        (tar_of({"../../evil": b"x"}), "holds '../../evil', which is no part of a bundle"),
        (tar_of({"bundle.json": None}), "holds 'bundle.json', which is no part of a bundle"),
    ):
        junk.write_bytes(data)
        number = json.loads((site.folder / index.INDEX_FILE).read_bytes())["sequence"] + 1
        digest = files.sha256_file(junk)
        signed(site, maker_key, sequence=number, bundle_path="bundles/junk.tar", bundle_bytes=len(data),
               bundle_sha256=digest)  # fmt: skip
        with pytest.raises(UserError, match=said):
            fetch()
    assert current(models) == bundles["middle"].id
    assert not list(models.glob("**/evil"))


def tar_of(members: dict[str, bytes | None]) -> bytes:
    """An archive; None: a link to /etc/passwd."""
    import io
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            if data is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(data)
            tar.addfile(member, None if data is None else io.BytesIO(data))
    return stream.getvalue()


def test_another_download_at_the_same_time_is_told(models: Path, fetch: Fetch, site: Site) -> None:
    with newest._alone(models / FOLDER), pytest.raises(UserError, match="another download is under way"):
        fetch()
    assert site.asked == []


def test_redirects_lead_to_the_same_host_only(
    bundles: dict[str, Bundle], site: Site, fetch: Fetch, maker_key: Path, tmp_path: Path
) -> None:
    new = bundles["new"]
    publish(new.folder, site.folder, maker_key)
    shutil.copytree(site.folder, tmp_path / "elsewhere")
    with serving(tmp_path / "elsewhere") as other:
        for target in (other.url, other.url.replace("127.0.0.1", "localhost"), "https://127.0.0.1/"):
            site.redirect["index.json"] = f"{target}index.json"
            with pytest.raises(UserError, match=r"is redirected to another host \(.*\), which is refused"):
                fetch()
        assert other.asked == []
    for target in (f"{site.url}index.json", "file:///etc/passwd", "data:,x"):
        site.redirect["index.json"] = target
        with pytest.raises(UserError, match="the server answers 302"):
            fetch()
    (site.folder / "copy.json").write_bytes((site.folder / "index.json").read_bytes())
    site.redirect["index.json"] = "/copy.json"
    assert fetch().bundle.id == new.id


def test_a_large_index_is_not_read_to_its_end(site: Site, fetch: Fetch) -> None:
    site.folder.mkdir()
    (site.folder / "index.json").write_bytes(b" " * (index.MAX_INDEX_BYTES + 1))
    with pytest.raises(UserError, match="is larger than 65536 bytes"):
        fetch()


def test_a_server_that_gives_a_byte_now_and_then_holds_nobody(
    bundles: dict[str, Bundle], site: Site, fetch: Fetch, maker_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = publish(bundles["new"].folder, site.folder, maker_key).bundle.bytes
    monkeypatch.setattr(download, "SMALL_S", 0.05)
    site.drip_s = 0.02
    with pytest.raises(UserError, match=r"index\.json: no answer; nothing was installed"):
        fetch()
    monkeypatch.setattr(download, "SMALL_S", 60.0)
    monkeypatch.setattr(download, "WHOLE_S", 0.05)
    site.drip_s = 0.001
    with pytest.raises(UserError, match=rf"broken off after \d+ of {size} bytes \(more than .* minutes\)"):
        fetch()
    site.drip_s = 0.0
    monkeypatch.setattr(download, "WHOLE_S", 60.0)
    assert fetch().bundle.id == bundles["new"].id


def test_the_command_over_tls(
    bundles: dict[str, Bundle], models: Path, trusted_keys: Path, maker_key: Path, tmp_path: Path, capsys
) -> None:
    ca = certificates(tmp_path / "pki", "server")
    www, new = tmp_path / "www", bundles["new"]
    assert main(["convert", "publish", str(new.folder), "--site", str(www), "--key", str(maker_key)]) == 0
    assert capsys.readouterr().out == f"{www}/index.json: index 1, bundle {new.id}, 100 % of the units.\n"
    with serving(www, (tmp_path / "pki/server.pem", tmp_path / "pki/server.key")) as site:
        words = ["device", "models", "fetch", site.url, "--models", str(models), "--trusted-keys", str(trusted_keys)]
        assert main(words) == 2
        assert "its certificate is not trusted (" in capsys.readouterr().err
        assert main([*words, "--ca", str(ca)]) == 0
        assert capsys.readouterr().out.startswith("installed: tiny: float32")
        assert main([*words, "--ca", str(ca)]) == 0
        assert capsys.readouterr().out.startswith(f"nothing to do: bundle {new.id} is the newest")
        assert main([*words[:3], site.url.replace("https", "http"), *words[4:]]) == 2
        assert "is not encrypted; write https://, or allow it with --plain-http" in capsys.readouterr().err
        assert main([*words, "--ca", str(new.folder / "model.tflite")]) == 2
        assert "holds no readable certificate" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://a/", "https://", "https://a:b/", "https://u:p@a/", "https://a/?x", "https://[::1/"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(UserError, match="is no address of an update server; write https://HOST/FOLDER/"):
        Server(url)
