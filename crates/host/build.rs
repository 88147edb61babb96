//! Tells the sources which CPython they are compiled for.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let python = pyo3_build_config::get();
    let executable = python.executable().unwrap_or_default();
    println!("cargo::rustc-env=HOST_PYTHON_EXECUTABLE={executable}");
    let version = python.version();
    // As CPython itself marks it: python3.13t.
    let build = if python.target_abi().kind().is_free_threaded() { "t" } else { "" };
    println!("cargo::rustc-env=HOST_PYTHON_VERSION={}.{}{build}", version.major, version.minor);
    println!("cargo::metadata=libdir={}", python.lib_dir().unwrap_or_default());
    println!("cargo::rerun-if-env-changed=PYO3_PYTHON");
}
