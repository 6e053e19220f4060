//! Compiles the FAISS shim against the headers of the very FAISS that `faiss-sys` builds and links.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a build script ends with a message")]

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=shim");
    let headers = faiss_sources();
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .flag("-fopenmp")
        .opt_level(3)
        .include(headers)
        .include("shim")
        .files(["shim/graph.cpp", "shim/centroids.cpp"])
        .compile("elanus_faiss");
}

/// The source folder of FAISS inside the package `faiss-sys` of the lock file, which announces no include path.
fn faiss_sources() -> PathBuf {
    let cargo = std::env::var("CARGO").expect("cargo names itself");
    // Only the packages of this platform are sure to be on the machine, and nothing is fetched here.
    let target = std::env::var("TARGET").expect("cargo names the target");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &target])
        .output()
        .expect("cargo metadata runs");
    let text = String::from_utf8(output.stdout).expect("cargo metadata prints text");
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages are listed");
    let package =
        packages.iter().find(|package| package["name"] == "faiss-sys").expect("faiss-sys is locked");
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a package has a manifest"));
    manifest.parent().expect("a manifest is in a folder").join("faiss")
}
