//! Finds Apache, makes bindings to its headers, compiles the shim, and sets how the module is linked.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=apache-headers");
    println!("cargo::rerun-if-env-changed=APXS");
    println!("cargo::rerun-if-env-changed=APR_CONFIG");
    match build() {
        Ok(()) => {}
        Err(why) => {
            println!("cargo::error={why}");
        }
    }
}

fn build() -> Result<(), String> {
    let includes = include_directories()?;
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|why| why.to_string())?);
    bindings(&includes)?
        .write_to_file(out.join("bindings.rs"))
        .map_err(|why| format!("cannot write the bindings: {why}"))?;
    let mut shim = cc::Build::new();
    shim.file("apache-headers/shim.c").include("apache-headers").includes(&includes);
    for define in ["LINUX", "_GNU_SOURCE", "_REENTRANT"] {
        shim.define(define, None);
    }
    shim.warnings(true).compile("shim");

    // httpd loads, unloads and reloads its modules; Rust's runtime and thread-locals do not survive
    // being unmapped (docs/safety.md).
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,relro,-z,now");
    // A Python outside the loader's path is found by the directory it had at build time; the crate
    // `host` tells which, where it is linked.
    if let Ok(directory) = env::var("DEP_MOD_WSGI_HOST_LIBDIR")
        && !["", "/usr/lib", "/lib"].contains(&directory.as_str())
        && !directory.starts_with("/usr/lib/")
    {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-rpath,{directory}");
    }
    Ok(())
}

fn include_directories() -> Result<Vec<PathBuf>, String> {
    let missing = "Apache's development files are missing: install apache2-dev (Debian, Ubuntu) or \
                   httpd-devel (Fedora, RHEL), or name apxs in APXS";
    let apxs = env::var("APXS").ok().into_iter().chain(["apxs".into(), "apxs2".into()]);
    let apxs = apxs
        .into_iter()
        .find(|apxs| Command::new(apxs).args(["-q", "INCLUDEDIR"]).output().is_ok())
        .ok_or(missing)?;
    let mut directories = vec![PathBuf::from(output(&apxs, &["-q", "INCLUDEDIR"]).ok_or(missing)?)];
    for (variable, names) in [
        ("APR_CONFIG", ["apr-1-config", "apr-config"]),
        ("APU_CONFIG", ["apu-1-config", "apu-config"]),
    ] {
        let names = env::var(variable).ok().into_iter().chain(names.map(str::to_owned));
        let found = names
            .into_iter()
            .find_map(|name| output(&name, &["--includedir"]))
            .ok_or_else(|| {
                format!(
                    "{} is missing: install libapr1-dev and libaprutil1-dev (Debian, Ubuntu) or \
                     apr-devel and apr-util-devel (Fedora, RHEL)",
                    if variable == "APR_CONFIG" { "apr-1-config" } else { "apu-1-config" }
                )
            })?;
        directories.push(PathBuf::from(found));
    }
    Ok(directories)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn bindings(includes: &[PathBuf]) -> Result<bindgen::Bindings, String> {
    let mut builder = bindgen::Builder::default()
        .header("apache-headers/wrapper.h")
        .clang_args(["-DLINUX", "-D_GNU_SOURCE", "-D_REENTRANT"])
        .allowlist_function("(ap|apr|shim|unixd)_.*")
        .allowlist_type("(ap|apr)_.*|auth[nz]_.*|request_rec|server_rec|conn_rec|module|command_rec|cmd_parms")
        .allowlist_var("(AP|APR|APLOG|MODULE_MAGIC|HTTP|OK|DECLINED|DONE|OPT|OR|RSRC|ACCESS|M|RAW_ARGS|TAKE_ARGV)_?.*|ap_.*")
        .allowlist_var("OK|DECLINED|DONE|OR_.*|AUTH[NZ]_PROVIDER_.*|REMOTE_HOST|REMOTE_NAME|SATISFY_.*|RSRC_CONF|ACCESS_CONF|EXEC_ON_READ|OPT_EXECCGI|NOT_IN_.*|REQUEST_NO_BODY|APR_OC_.*|AP_SQ_.*|SERVER_READY|SUSPENDED")
        .blocklist_function("ap_log_.*printf|apr_strtod|.*_v[a-z]*printf.*")
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .layout_tests(false)
        .generate_comments(false)
        .generate_cstr(true)
        .derive_debug(false)
        .use_core()
        .formatter(bindgen::Formatter::None);
    for directory in includes {
        builder = builder.clang_arg(format!("-I{}", directory.display()));
    }
    builder.generate().map_err(|why| {
        format!(
            "cannot read Apache's headers ({why}); bindgen needs libclang: install libclang-dev \
             (Debian, Ubuntu) or clang-devel (Fedora, RHEL)"
        )
    })
}
