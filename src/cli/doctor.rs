//! `candor doctor`: what this machine has to offer.

use crate::args::{self, ModelArgs};
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(args: &Args) {
    output::line(format!("candor          {}", env!("CARGO_PKG_VERSION")));
    output::line(format!("threads         {}", args::n_threads()));
    output::line(format!(
        "cpu features    {}",
        args::cpu_features().join(", ")
    ));
    let devices = candor_model::DEVICES.iter().map(|(kind, built)| {
        if *built {
            (*kind).to_owned()
        } else {
            format!("{kind} (build with `--features {kind}`)")
        }
    });
    output::line(format!(
        "devices         {}",
        devices.collect::<Vec<_>>().join(", ")
    ));
    output::line(format!(
        "architectures   {}",
        candor_model::architecture_names().join(", ")
    ));
    match args.model.path() {
        Ok(path) => output::line(format!(
            "model           {} is here: {}",
            args.model.model,
            path.display()
        )),
        Err(error) => {
            output::line(format!("model           {error}"));
            output::line("                `candor model pull` brings it".to_owned());
        }
    }
}
