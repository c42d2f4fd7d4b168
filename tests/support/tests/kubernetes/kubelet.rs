//! The kubelet, over plain HTTP and over TLS.

use std::sync::Arc;

use cri_gc_test_support::kubernetes::{FakeKubelet, Fault, On};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::api::pod;
use crate::client::{Ask, get, get_json, over, read, send};

#[tokio::test]
async fn it_reports_its_pods_and_their_sources() {
    let kubelet = FakeKubelet::start("node-1");
    let (_, none) = get_json(&kubelet, "/pods").await;
    assert_eq!(none, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": null}));

    kubelet.set_pods(vec![pod("a"), pod("static").from_file()]);
    let (code, list) = get_json(&kubelet, "/pods").await;
    let source =
        |index: usize| &list["items"][index]["metadata"]["annotations"]["kubernetes.io/config.source"];
    assert_eq!((code, source(0), source(1)), (200, &json!("api"), &json!("file")));
    assert_eq!(list["items"][0]["spec"]["nodeName"], "node-1");
    assert_eq!(get(&kubelet, "/stats").await.0, 404);

    kubelet.set_body("[]".to_owned());
    kubelet.fail_next(On::List, Fault::Status(500));
    assert_eq!((get(&kubelet, "/pods").await.0, get(&kubelet, "/pods").await.1), (500, "[]".to_owned()));
    assert_eq!(kubelet.count(On::List), 4);
}

#[tokio::test]
async fn its_token_can_change() {
    let kubelet = FakeKubelet::start("node-1");
    let with = |token| Ask { token: Some(token), ..Ask::default() };
    kubelet.set_token(Some("first"));
    assert_eq!(get(&kubelet, "/pods").await, (401, "Unauthorized".to_owned()));
    assert_eq!(send(&kubelet, "/pods", with("first")).await.0, 200);
    kubelet.set_token(Some("second"));
    assert_eq!(send(&kubelet, "/pods", with("first")).await.0, 401);
    assert_eq!(send(&kubelet, "/pods", with("second")).await.0, 200);
}

/// The code of an answer over TLS, if the client trusts the server.
async fn code_over_tls(
    kubelet: &FakeKubelet,
    trusted: &str,
    certificate: Option<(&str, &str)>,
) -> Option<u16> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let stream = TcpStream::connect(kubelet.address()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    Some(read(over(stream, "/pods", Ask::default()).await.ok()?).await.0)
}

#[tokio::test]
async fn over_tls_a_certificate_lets_a_client_in() {
    let kubelet = FakeKubelet::start_https("node-1");
    let stranger = FakeKubelet::start_https("node-1");
    assert!(kubelet.url().starts_with("https://127.0.0.1:"));
    let (ca, own) = (kubelet.ca_pem(), Some((kubelet.client_cert_pem(), kubelet.client_key_pem())));
    assert_eq!(code_over_tls(&kubelet, ca, None).await, Some(200));
    assert_eq!(code_over_tls(&kubelet, stranger.ca_pem(), None).await, None);

    kubelet.require_client_certificate(true);
    assert_eq!(code_over_tls(&kubelet, ca, None).await, Some(401));
    assert_eq!(code_over_tls(&kubelet, ca, own).await, Some(200));
    let foreign = Some((stranger.client_cert_pem(), stranger.client_key_pem()));
    assert_eq!(code_over_tls(&kubelet, ca, foreign).await, None, "signed by a CA that it doesn't know");
}
