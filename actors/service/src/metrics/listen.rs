//! The address of metrics and probes. It is listened on at the start only.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("metrics.listen = \"{address}\" can't be listened on: {error}; {}", remedy(.error))]
pub struct ListenError {
    /// The address, as the settings have it.
    pub address: String,
    /// What the operating system says.
    pub error: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program uses this port (`ss -ltnp` shows which): stop it, or set metrics.listen to another port"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: set metrics.listen to one that it has, as 127.0.0.1"
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE: set metrics.listen to a higher port"
        }
        _ => "set metrics.listen to an address and port of this machine, or to \"\" for no metrics",
    }
}

/// Listens on HOST:PORT.
pub fn listen(address: &str) -> Result<(TcpListener, SocketAddr), ListenError> {
    let listening = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listening().map_err(|error| ListenError { address: address.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_is_named_with_its_key_the_cause_and_the_remedy() {
        let (_first, address) = listen("127.0.0.1:0").unwrap();
        let said = |address: &str| listen(address).unwrap_err().to_string();
        let in_use = said(&address.to_string());
        let start = format!("metrics.listen = \"{address}\" can't be listened on: Address already in use");
        assert!(in_use.starts_with(&start) && in_use.contains("another port"), "{in_use}");
        // Of a block that is for documentation only.
        let foreign = said("192.0.2.1:9");
        assert!(foreign.contains("no such address"), "{foreign}");
        assert!(said("127.0.0.1").contains("set metrics.listen to an address and port"));
    }
}
