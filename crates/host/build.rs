//! Tells the sources which CPython they are compiled for.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let python = pyo3_build_config::get();
    // An extension is loaded by the Python that runs it: where that of the build was is nothing it may depend on.
    let is_extension = std::env::var_os("CARGO_FEATURE_EXTENSION").is_some();
    let known = |path: Option<&str>| path.filter(|_| !is_extension).unwrap_or_default().to_owned();
    println!("cargo::rustc-env=HOST_PYTHON_EXECUTABLE={}", known(python.executable()));
    let version = python.version();
    // As CPython itself marks it: python3.13t.
    let build = if python.target_abi().kind().is_free_threaded() { "t" } else { "" };
    println!("cargo::rustc-env=HOST_PYTHON_VERSION={}.{}{build}", version.major, version.minor);
    println!("cargo::metadata=libdir={}", known(python.lib_dir()));
    println!("cargo::rerun-if-env-changed=PYO3_PYTHON");
}
