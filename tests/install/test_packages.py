"""What the Debian and the Fedora packages are made of; `make test-deb` uses the former."""

import os
import re
import shutil
import subprocess

import pytest
from harness.command import COMMAND
from harness.env import REPO

pytestmark = pytest.mark.ours_only("packages ours")

MODULES = "/usr/lib64/httpd/modules"
BUILT = ("mod_wsgi_rs", "mod_wsgi_rs.so", "wsgi-daemon-manager")


def of_workspace(key):
    """The value of a key of the packages of Cargo.toml, whose workspace comes first."""
    return re.search(rf'^{key} = "(.*)"$', (REPO / "Cargo.toml").read_text(), re.M)[1]


def test_packages_have_the_version_of_the_source():
    version = of_workspace("version")
    changelog = (REPO / "debian/changelog").read_text()
    assert re.match(r"mod-wsgi-rs \(([^)]+)\)", changelog)[1] == version
    spec = (REPO / "rpm/mod_wsgi_rs.spec").read_text()
    assert re.search(r"^Version: +(\S+)$", spec, re.M)[1] == version
    assert re.search(r"^\* .* - (\S+)-1$", spec, re.M)[1] == version


def test_packages_need_the_rust_of_the_source():
    rust = of_workspace("rust-version")
    control = (REPO / "debian/control.in").read_text()
    assert re.findall(r"cargo(?:-web)? \(>= ([\d.]+)\)", control) == [rust, rust]
    spec = (REPO / "rpm/mod_wsgi_rs.spec").read_text()
    assert re.search(r"^BuildRequires: +cargo >= (\S+)$", spec, re.M)[1] == rust


@pytest.fixture
def control(tmp_path):
    """control("3.11 3.13") is the debian/control that debian/rules writes for these Pythons."""

    def control(pythons):
        shutil.copytree(REPO / "debian", tmp_path / "debian")
        subprocess.run(
            ["make", "-s", "-f", "debian/rules", "control", f"PYTHONS={pythons}"],
            cwd=tmp_path,
            check=True,
        )
        return (tmp_path / "debian/control").read_text()

    return control


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_each_python_has_a_package(control):
    text = control("3.99 3.13")
    assert re.findall(r"^Package: (\S+)$", text, re.M) == [
        "libapache2-mod-wsgi-rs",
        "libapache2-mod-wsgi-rs-python3.99",
        "libapache2-mod-wsgi-rs-python3.13",
    ]
    assert "\n python3.99-dev,\n" in text or "\n python3.99-dev, python3.13-dev,\n" in text
    assert "Recommends: libapache2-mod-wsgi-rs-python3.99 (= ${binary:Version})" in text
    assert "@" not in re.sub(r"<[^>]*@[^>]*>", "", text)


def test_committed_control_is_that_of_its_pythons(control):
    committed = (REPO / "debian/control").read_text()
    pythons = re.findall(r"^Package: libapache2-mod-wsgi-rs-python(\S+)$", committed, re.M)
    written = control(" ".join(pythons))

    def without_numbers(text):
        # The distribution's python3-dev has no number, on whatever release this runs.
        return re.sub(r"python3(\.\d+)?-dev", "python3-dev", text)

    assert without_numbers(written) == without_numbers(committed)


def test_files_of_a_python_are_those_of_its_version(tmp_path):
    for name in (
        "mod_wsgi_rs.so",
        "wsgi-daemon-manager",
        "wsgi-daemon-3.1",
        "wsgi-daemon-3.13",
        "wsgi-daemon-3.13t",
        "wsgi_host.cpython-313-x86_64-linux-gnu.so",
        "wsgi_host.cpython-313t-x86_64-linux-gnu.so",
    ):
        (tmp_path / name).touch()

    def listed(version):
        command = [REPO / "scripts/python-files", version, tmp_path]
        lines = subprocess.check_output(command, text=True).splitlines()
        return [line.removeprefix(f"{tmp_path}/") for line in lines]

    assert listed("3.13") == ["wsgi-daemon-3.13", "wsgi_host.cpython-313-x86_64-linux-gnu.so"]
    assert listed("3.13t") == ["wsgi-daemon-3.13t", "wsgi_host.cpython-313t-x86_64-linux-gnu.so"]
    assert listed("3.12") == []


def test_packages_are_built_with_the_extension():
    rules = (REPO / "debian/rules").read_text()
    build = re.search(r"^override_dh_auto_build:\n((?:\t.*\n)+)", rules, re.M)[1]
    others = r"for version in \$\(filter-out .*\);.*\n.*\$\(MAKE\) daemon build-python "
    assert re.search(others, build)
    spec = (REPO / "rpm/mod_wsgi_rs.spec").read_text()
    spec = re.search(r"^%build\n(.*?)^%install", spec, re.M | re.S)[1]
    for lines in (build, spec):
        assert re.search(r"(\$\(MAKE\)|%make_build) build SETUP=", lines)
    makefile = (REPO / "Makefile").read_text()
    for target in ("build", "build-python"):
        recipe = re.search(rf"^{target}: .*\n((?:\t.*\n)+)", makefile, re.M)[1]
        assert "$(BUILD_EXTENSION)\n" in recipe
        assert "$(NAME_EXTENSION)\n" in recipe


def test_packages_have_all_documents_beside_each_other_as_in_the_source():
    """Below one folder, so that links between them lead somewhere."""
    debian = (REPO / "debian/libapache2-mod-wsgi-rs.docs").read_text().split()
    examples = (REPO / "debian/libapache2-mod-wsgi-rs.links").read_text().splitlines()[-1].split()
    spec = (REPO / "rpm/mod_wsgi_rs.spec").read_text()
    fedora = re.search(r"^%doc (.*)$", spec, re.M)[1].split()
    assert debian == ["README.md", "CHANGELOG.md", "docs"]
    assert [place.rpartition("/")[2] for place in examples] == ["examples", "conf-examples"]
    assert fedora == [*debian, "conf-examples"]
    for page in [REPO / "README.md", REPO / "CHANGELOG.md", *(REPO / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", page.read_text()):
            target = (page.parent / link).resolve().relative_to(REPO.resolve())
            # What developers and builders read is in the source alone.
            of_source = ("CONTRIBUTING.md", "LICENSE", "container", "tests", "bench", "crates")
            assert target.parts[0] in (*fedora, *of_source), f"{page.name}: {link}"


def test_documents_of_the_debian_package_are_not_compressed():
    """dh_compress(1) has the list of what it leaves alone by itself."""
    rules = (REPO / "debian/rules").read_text()
    (arguments,) = re.findall(r"^\tdh_compress (.*)$", rules, re.M)
    excluded = re.findall(r"-X(\S+)", arguments)
    left_alone = (".html", ".png", ".jpg", ".svg", ".css", ".js")
    packaged = (REPO / "debian/libapache2-mod-wsgi-rs.docs").read_text().split()
    files = [file for name in packaged for file in [REPO / name, *(REPO / name).rglob("*")]]
    compressed = {
        file.suffix
        for file in files
        if file.is_file()
        and not file.name.endswith(left_alone)
        and not any(part in str(file.relative_to(REPO)) for part in excluded)
    }
    assert compressed == set()


MANUAL = REPO / "debian/mod_wsgi_rs.1"


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is missing")
def test_manual_page_has_each_command_and_options_that_exist():
    formatted = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-P-cbou", MANUAL],
        capture_output=True,
        text=True,
        check=True,
    )
    assert formatted.stderr == ""
    if not os.path.exists(COMMAND):
        pytest.skip(f"{COMMAND} is not built")

    def printed(*words):
        return subprocess.check_output([COMMAND, *words, "--help"], text=True)

    commands = re.findall(r"^  ([a-z-]+)  ", printed().partition("Commands:\n")[2], re.M)
    assert {"start-server", "log-level"} <= set(commands)
    sections = re.split(r"^(?=[A-Z])", formatted.stdout, flags=re.M)
    section = {text.partition("\n")[0]: text for text in sections}
    described = re.findall(r"^       ([a-z-]+)(?: .*)?$", section["COMMANDS"], re.M)
    assert sorted(set(commands) - {"help"} - set(described)) == []
    of_servers = section["OPTIONS OF THE COMMANDS TO A RUNNING SERVER"]
    options = re.findall(r"^       (--[a-z-]+)", of_servers, re.M)
    assert {"--runtime-dir", "--timeout"} <= set(options)
    for command in ("status", "stacks", "reload", "recycle", "drain", "log-level"):
        text = printed(command)
        assert [option for option in options if option not in text] == []


@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="rpmbuild is missing")
def test_rpm_packages_have_their_files(env, tmp_path):
    if not all((REPO / "target/release" / built).exists() for built in BUILT):
        pytest.skip("not all is built: make build")
    made = subprocess.run(
        [REPO / "scripts/rpm", "--with", "prebuilt", "--define", f"_httpd_moddir {MODULES}"],
        env=os.environ | {"RPM_TOP": str(tmp_path / "rpm")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-4000:]

    def query(package, what):
        (file,) = (tmp_path / "rpm").rglob(f"{package}-{of_workspace('version')}-*.rpm")
        return subprocess.check_output(["rpm", "-qp", what, file], text=True).splitlines()

    main, python = "mod_wsgi_rs", f"mod_wsgi_rs-python{env.python}"
    documents = ("/usr/share/doc/", "/usr/share/licenses/", "/usr/share/man/", "/usr/lib/.build-id")
    everything = query(main, "-l")
    # Fedora's has no version in its name.
    found = [re.fullmatch(r"(/usr/share/doc/mod_wsgi_rs[^/]*)/README\.md", it) for it in everything]
    (folder,) = {match[1] for match in found if match}
    for name in ("CHANGELOG.md", "docs/command.md", "conf-examples/hello.conf"):
        assert f"{folder}/{name}" in everything
    assert [line for line in everything if line.startswith("/usr/share/man/man1/mod_wsgi_rs.1")]
    files = [line for line in everything if not line.startswith(documents)]
    assert sorted(files) == [
        "/etc/httpd/conf.modules.d/10-wsgi_rs.conf",
        "/usr/bin/mod_wsgi_rs",
        f"{MODULES}/mod_wsgi_rs.so",
        f"{MODULES}/wsgi-daemon-manager",
    ]
    assert query(main, "--configfiles") == ["/etc/httpd/conf.modules.d/10-wsgi_rs.conf"]
    assert {"mod_wsgi", "python3-mod_wsgi"} <= set(query(main, "--conflicts"))
    assert any(line.startswith("httpd-mmn = ") for line in query(main, "--requires"))
    assert any(line.startswith(f"{python}(") for line in query(main, "--recommends"))
    files = [line for line in query(python, "-l") if not line.startswith(documents)]
    assert f"{MODULES}/wsgi-daemon-{env.python}" in files
    digits = env.python.replace(".", "")
    for extension in (REPO / "target/release").glob(f"wsgi_host.cpython-{digits}-*.so"):
        assert f"{MODULES}/{extension.name}" in files
    owned = re.compile(rf"{MODULES}/wsgi(-daemon-{env.python}|_host\.cpython-.*\.so)")
    assert [line for line in files if not owned.fullmatch(line)] == []
    assert f"libpython{env.python}.so" in "\n".join(query(python, "--requires"))
