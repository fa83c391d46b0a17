//! The `candor` command: capture activations, train probes, evaluate them, and score replies.

mod args;
mod exit;
mod output;
mod progress;

mod model;
mod pull;

mod dataset;

mod capture;
mod evaluate;
mod replies;
mod train;

mod heat_map;
mod local_server;
mod score;
mod serve;
mod verify;

mod bench;
mod demo;
mod doctor;
mod probe;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A lie detector for open-weights language models.
///
/// candor reads the residual stream while a model works and says how strongly it looks like
/// deception, how far that can be trusted, and why. It only sees models that run on your machine.
#[derive(Debug, Parser)]
#[command(name = "candor", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole loop on the default model and show what it finds
    Demo(demo::Args),
    /// Fetch and describe models
    #[command(subcommand)]
    Model(model::Command),
    /// Import, check, render, sample and grade labelled dialogues
    #[command(subcommand)]
    Dataset(dataset::Command),
    /// Store activations of dialogues as Parquet
    Capture(capture::Args),
    /// Fit a probe to captured activations
    Train(train::Args),
    /// Measure a probe beside everything it must be compared with
    Evaluate(evaluate::Args),
    /// Score one reply
    Score(score::Args),
    /// Answer `/score` over HTTP
    Serve(serve::Args),
    /// Show that offline, HTTP and token-by-token scores agree
    Verify(verify::Args),
    /// Describe probe bundles
    #[command(subcommand)]
    Probe(probe::Command),
    /// Measure the speed and memory of a model here
    Bench(bench::Args),
    /// Show what this machine has to offer
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap prints help to stdout with status 0 and usage errors to stderr with status 2.
        Err(error) => error.exit(),
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CANDOR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let result = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Model(command) => model::run(&command),
        Command::Dataset(command) => dataset::run(&command),
        Command::Capture(args) => capture::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Probe(command) => probe::run(&command),
        Command::Bench(args) => bench::run(&args),
        Command::Doctor(args) => {
            doctor::run(&args);
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
