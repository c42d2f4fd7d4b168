//! `cri-gc config`: shows settings, checks the configuration, and reloads that of the running service. Importing a kubelet's
//! configuration is in [`import_kubelet`].

use std::fmt::Display;

use cri_gc_config::{Settings, key_names, render};
use cri_gc_proto::admin::{ConfigRequest, ConfigResponse, ReloadRequest};
use cri_gc_service::admin::Groups;

use super::import_kubelet;
use super::requests::ask;
use super::setup::{in_system, not_yet, service, settings};
use crate::cli::{Config, ConfigForm, Global, Service};
use crate::client::{Client, ClientError, Trouble};
use crate::failure::Failure;
use crate::output::text::Text;
use crate::output::{answers, config, note, print};

/// Shows, checks, reloads or imports.
///
/// # Errors
/// Everything that is wrong with the configuration, or with a kubelet's; the service does not answer.
pub fn run(global: &Global, command: &Config) -> Result<(), Failure> {
    match command {
        Config::Check => check(global)?,
        Config::Show { running: false, output, .. } => print(own(global, *output)?)?,
        Config::Show { running: true, socket, output } => {
            let meant = Service { socket: socket.clone(), timeout: None };
            let answer = in_system(async {
                let service = service(global, &meant).await?;
                Ok::<_, Failure>(service.ask(async |admin| admin.config(ConfigRequest {}).await).await?)
            })?;
            print(running(&answer, *output)?)?;
        }
        Config::Reload { service: meant, output } => {
            let request = async |service: Client| {
                service.ask(async |admin| admin.reload(ReloadRequest {}).await).await.map_err(refused)
            };
            ask(global, meant, output.output, request, answers::reloaded)?;
        }
        Config::ImportKubelet(args) => import_kubelet::run(global, args)?,
    }
    Ok(())
}

fn check(global: &Global) -> Result<(), Failure> {
    let loaded = settings(global)?;
    let from = match &loaded.file {
        Some(file) => format!("{} is valid", file.display()),
        None => {
            "there is no configuration file; the defaults, the environment and the flags are valid".to_owned()
        }
    };
    if let Some(problem) = not_yet(&loaded.settings) {
        return Err(Failure::configuration(problem));
    }
    // `run` refuses an unknown group when it starts; a configuration may be checked on another machine than its own.
    let group = Groups::of(&loaded.settings).err();
    loaded.notes.into_iter().for_each(|text| note(&text));
    print(match group {
        None => format!("{from}\n"),
        Some(error) => but_refused(&from, error),
    })
}

/// What is valid, and is refused by `run`.
fn but_refused(from: &str, error: impl Display) -> String {
    format!("{from}, but `cri-gc run` refuses it on this machine: {error}\n")
}

/// The settings that a command would use now.
fn own(global: &Global, form: ConfigForm) -> Result<Text, Failure> {
    let loaded = settings(global)?;
    let origin = |key: &str| loaded.origins.get(key).map_or_else(String::new, ToString::to_string);
    let origins: Vec<_> = key_names().map(|key| (key.to_owned(), origin(key))).collect();
    config::text(form, &loaded.settings, || render(&loaded.settings), &origins)
}

/// The settings of a service.
fn running(answer: &ConfigResponse, form: ConfigForm) -> Result<Text, Failure> {
    if form == ConfigForm::Toml {
        return Ok(answer.toml.clone().into());
    }
    let toml = || answer.toml.clone();
    let origins: Vec<_> = answer.origins.iter().map(|(key, from)| (key.clone(), from.clone())).collect();
    // Read as settings they keep the order of a configuration. A service of another version may have settings that this
    // program does not know: they are shown, too.
    if let Ok(settings) = serde_json::from_str::<Settings>(&answer.json) {
        return config::text(form, &settings, toml, &origins);
    }
    let values: serde_json::Value = serde_json::from_str(&answer.json).map_err(|error| {
        Failure::failed(format_args!("could not read the settings of the service: {error}"))
            .or("print them unchanged with -o toml")
    })?;
    config::text(form, &values, toml, &origins)
}

fn refused(error: ClientError) -> Failure {
    match error.trouble {
        Trouble::Invalid => Failure::configuration(format_args!(
            "reload refused, the previous configuration remains in force: {}",
            error.message
        )),
        _ => error.into(),
    }
}
