//! How the output is printed. The doc comments are the help texts.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Output {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Text table
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Forms of data that has no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DataForm {
    Json,
    Yaml,
}

/// How settings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigForm {
    /// A table of keys, values and their sources
    Table,
    /// As a configuration file
    Toml,
    /// For programs
    Json,
    /// For both
    Yaml,
}
