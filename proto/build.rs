//! Generates the CRI types and the client and server code from our own `.proto` files, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=cri");
    let files = protox::compile(["cri/runtime.proto"], ["cri"])?;
    tonic_prost_build::configure().build_client(true).build_server(true).compile_fds(files)?;
    Ok(())
}
