//! Generates the client from the contract. TOKENWIRE_PROTO names the folder that holds tokenwire/v1/.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=TOKENWIRE_PROTO");
    let proto = env::var_os("TOKENWIRE_PROTO").map_or_else(|| PathBuf::from("../../proto"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", proto.display());
    let files = protox::compile(["tokenwire/v1/agent_service.proto"], [proto])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
