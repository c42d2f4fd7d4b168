//! The client of the API server: one request, one answer. Nothing is decided here, and nothing is tried twice: the caller
//! knows what an error means to it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use cri_gc_config::Settings;
use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde::de::DeserializeOwned;

use super::error::{configuration, deadline, of_client, refused, unread};
use crate::error::SourceError;
use crate::http_body;
use cri_gc_kit::text::causes;
use cri_gc_kit::workers::Workers;

/// How long one answer may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The API server, asked for one node. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub(super) client: Client,
    /// The node that it is asked for.
    pub node: String,
    files: Workers,
}

impl Api {
    /// Makes a client: by the kubeconfig of the settings, else by the credentials of the pod that we run in, else by
    /// `$KUBECONFIG`. No request is sent yet. Certificates and keys are read now, tokens again and again.
    ///
    /// # Errors
    /// There are no credentials, or they are not understood.
    pub async fn connect(settings: &Settings, files: &Workers) -> Result<Self, SourceError> {
        let kubeconfig = settings.pods.kube_api.kubeconfig.clone();
        // A kubelet takes the name of its machine in lower case.
        let node = settings.node_name.clone().unwrap_or_else(|| cri_gc_kit::text::host_name().to_lowercase());
        let runtime = tokio::runtime::Handle::current();
        // It reads files, and may run a program that prints a token.
        let connect = move || {
            let config = futures_util::FutureExt::now_or_never(read_configuration(kubeconfig));
            let mut config = config.ok_or_else(|| configuration("it could not be read at once"))??;
            keeps_its_secrets(&config)?;
            // The caller tries again.
            config.default_retry = false;
            // The client starts a task of its own.
            let _in_runtime = runtime.enter();
            Client::try_from(config).map_err(|error| configuration(causes(&error)))
        };
        let connected = files.run_within(ANSWER_WITHIN, connect).await;
        let client = connected.map_err(configuration)??;
        Ok(Self { client, node, files: files.clone() })
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn call(
        &self,
        what: &'static str,
        request: Request<Vec<u8>>,
    ) -> Result<(StatusCode, Vec<u8>), SourceError> {
        let asking = async {
            let sent = self.client.send(request.map(Body::from)).await;
            let answer = sent.map_err(|error| of_client(what, &error))?;
            let code = answer.status();
            let body = http_body::read(answer.into_body()).await;
            Ok((code, body.map_err(|why| unread(what, why))?))
        };
        let asked = tokio::time::timeout(ANSWER_WITHIN, asking).await;
        asked.unwrap_or_else(|_| Err(deadline(what, ANSWER_WITHIN)))
    }

    /// Sends a request and reads the answer, which an error code makes an error.
    pub(super) async fn read<T: DeserializeOwned + Send + 'static>(
        &self,
        what: &'static str,
        request: Request<Vec<u8>>,
    ) -> Result<T, SourceError> {
        let (code, body) = self.call(what, request).await?;
        if !code.is_success() {
            return Err(refused(what, code, &body));
        }
        // A page of pods may be megabytes, which would keep the actor's thread busy.
        let parse = move || serde_json::from_slice(&body);
        let parsed = self.files.run_within(ANSWER_WITHIN, parse).await;
        parsed.map_err(|gone| unread(what, gone))?.map_err(|error| unread(what, error))
    }
}

async fn read_configuration(kubeconfig: Option<PathBuf>) -> Result<Config, SourceError> {
    let bad = |error| configuration(causes(&error));
    let own = match kubeconfig {
        Some(path) => Kubeconfig::read_from(&path).map_err(bad)?,
        None => match Config::incluster() {
            Ok(config) => return Ok(config),
            Err(outside) => Kubeconfig::from_env().map_err(bad)?.ok_or_else(|| {
                configuration(format_args!(
                    "this is no pod of a cluster ({outside}), and $KUBECONFIG is not set"
                ))
            })?,
        },
    };
    Config::from_custom_kubeconfig(own, &KubeConfigOptions::default()).await.map_err(bad)
}

/// Credentials do not travel in the clear, but to this machine itself.
fn keeps_its_secrets(config: &Config) -> Result<(), SourceError> {
    let url = &config.cluster_url;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let auth = &config.auth_info;
    let is_secret = auth.token.is_some()
        || auth.token_file.is_some()
        || auth.password.is_some()
        || auth.exec.is_some()
        || auth.auth_provider.is_some();
    if url.scheme_str() == Some("https") || is_here || !is_secret {
        return Ok(());
    }
    Err(configuration(format_args!("{url} is not https, so the credentials would travel in the clear")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_travel_in_the_clear_to_this_machine_only() {
        let kept = |url: &str, token: Option<&str>| {
            let mut config = Config::new(url.parse().unwrap());
            config.auth_info.token_file = token.map(ToOwned::to_owned);
            keeps_its_secrets(&config).is_ok()
        };
        for url in
            ["https://10.0.0.1:6443", "http://127.0.0.1:8001", "http://localhost:8001", "http://[::1]:8001"]
        {
            assert!(kept(url, Some("/token")), "{url}");
        }
        for url in ["http://10.0.0.1:6443", "http://localhost.example", "http://127.0.0.1.example"] {
            assert!(!kept(url, Some("/token")), "{url}");
            assert!(kept(url, None), "{url}");
        }
    }
}
