//! `cri-gc config show` and `cri-gc config check`.

use std::process::ExitCode;

use cri_gc_config::{key_names, render};

use super::{not_yet, settings};
use crate::cli::{Config, ConfigForm, Global};
use crate::failure::Failure;
use crate::output::table::{render as render_table, table};
use crate::output::{json, print, remark, yaml};

/// Shows or checks.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn run(global: &Global, command: &Config) -> Result<ExitCode, Failure> {
    let loaded = settings(global)?;
    match command {
        Config::Check => {
            let from = match &loaded.file {
                Some(file) => format!("{} is good", file.display()),
                None => {
                    "there is no configuration file; the defaults, the environment and the flags are good"
                        .to_owned()
                }
            };
            print(&format!("{from}\n"))?;
            if let Some(problem) = not_yet(&loaded.settings) {
                remark(&format!("cri-gc: {problem}"));
            }
        }
        Config::Show { output } => match output.output {
            ConfigForm::Toml => print(&render(&loaded.settings))?,
            ConfigForm::Json => print(&json(&loaded.settings)?)?,
            ConfigForm::Yaml => print(&yaml(&loaded.settings)?)?,
            ConfigForm::Table => {
                let values = serde_json::to_value(&loaded.settings).map_err(Failure::failed)?;
                let mut rows = table(&["KEY", "VALUE", "FROM"]);
                for key in key_names() {
                    let value = key.split('.').try_fold(&values, |value, part| value.get(part));
                    let from = loaded.origins.get(key).map_or_else(String::new, ToString::to_string);
                    rows.add_row([
                        key.to_string(),
                        value.map_or_else(String::new, ToString::to_string),
                        from,
                    ]);
                }
                print(&render_table(rows, &[]))?;
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
