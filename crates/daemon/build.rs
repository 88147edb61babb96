//! Sets how the program finds a libpython outside the loader's path.

fn main() {
    // The crate `host` tells the directory it was built against.
    if let Ok(directory) = std::env::var("DEP_MOD_WSGI_HOST_LIBDIR")
        && !["", "/usr/lib", "/lib"].contains(&directory.as_str())
        && !directory.starts_with("/usr/lib/")
    {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
