//! Generates the wire types and the client and server code from our own `.proto` files, without `protoc`.

use std::path::PathBuf;

use protox::prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=cri");
    println!("cargo:rerun-if-changed=admin");
    let files = protox::compile(["cri/runtime.proto"], ["cri"])?;
    tonic_prost_build::configure().build_client(true).build_server(true).compile_fds(files)?;
    // What the admin API answers is printed as JSON and YAML too.
    let files = protox::compile(["admin/admin.proto"], ["admin"])?;
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("admin.bin");
    std::fs::write(descriptors, files.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .btree_map("Pass.kept_for")
        .btree_map("Recent.failures")
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .field_attribute("PassUpdate.what", "#[serde(flatten)]")
        .type_attribute("PassUpdate.what", "#[serde(rename_all = \"snake_case\")]")
        .compile_fds(files)?;
    Ok(())
}
