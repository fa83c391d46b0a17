//! `candor model`: fetch and describe models.

use candor_schema::Site;

use crate::args::ModelArgs;
use crate::{output, progress, pull};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Fetch a model, checked by its sha256
    Pull(PullArgs),
    /// Show the models that can be pulled by name, and the supported architectures
    List(ListArgs),
    /// Show a model's sizes, hook points, device, types, memory and fingerprint
    Info(InfoArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// Name of a model (see `candor model list`) or `hf:owner/repo/file.gguf`
    #[arg(default_value = pull::DEFAULT_MODEL)]
    name: String,
    /// Folder to put it in [default: the user's cache folder]
    #[arg(long, env = "CANDOR_MODEL_DIR")]
    model_dir: Option<std::path::PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Print JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Pull(args) => {
            let model = ModelArgs::named(args.name.clone(), args.model_dir.clone());
            let path = pull_with_progress(&model)?;
            output::line(path.display());
            Ok(())
        }
        Command::List(args) => {
            list(args.json);
            Ok(())
        }
        Command::Info(args) => info(args),
    }
}

/// Fetches the model unless it is there, with a progress bar; returns its path.
pub(crate) fn pull_with_progress(model: &ModelArgs) -> anyhow::Result<std::path::PathBuf> {
    let bar = progress::bar(0, "bytes");
    bar.set_message("pull");
    let pulled = pull::pull(&model.model, &model.folder(), &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    output::note(format!(
        "model `{}`: {:?}, sha256 checked",
        model.model, pulled.source
    ));
    Ok(pulled.path)
}

fn list(json: bool) {
    if json {
        let models: Vec<serde_json::Value> = pull::MODELS
            .iter()
            .map(|model| {
                serde_json::json!({
                    "name": model.name, "file": model.file, "sha256": model.sha256, "n_bytes": model.n_bytes,
                    "licence": model.licence, "about": model.about,
                })
            })
            .collect();
        output::line(
            serde_json::json!({"models": models, "architectures": candor_model::architecture_names()}),
        );
        return;
    }
    for model in pull::MODELS {
        let default = if model.name == pull::DEFAULT_MODEL {
            " (default)"
        } else {
            ""
        };
        output::line(format!(
            "{}{default}  {} MB, {}, {}",
            model.name,
            model.n_bytes / 1_000_000,
            model.licence,
            model.about
        ));
    }
    output::line(format!(
        "architectures: {}",
        candor_model::architecture_names().join(", ")
    ));
}

fn info(args: &InfoArgs) -> anyhow::Result<()> {
    let model = args.model.open()?;
    let config = model.config();
    let sites: Vec<(Site, usize)> = Site::ALL
        .into_iter()
        .filter_map(|site| model.width(site).map(|width| (site, width)))
        .collect();
    if args.json {
        let sites: serde_json::Map<String, serde_json::Value> = sites
            .iter()
            .map(|(site, width)| (site.hook_name().to_owned(), (*width).into()))
            .collect();
        output::line(serde_json::to_string_pretty(&serde_json::json!({
            "name": model.name(), "device": model.device().to_string(), "config": config, "fingerprint": model.fingerprint(), "hook_points": sites,
            "weight_types": model.weight_types(), "packed_types": model.packed_types(), "weight_bytes": model.weight_bytes(),
            "cache_bytes_per_token": model.cache_bytes_per_token(),
        }))?);
        return Ok(());
    }
    output::line(format!("model           {}", model.name()));
    output::line(format!("architecture    {}", config.architecture));
    output::line(format!(
        "sizes           {} layers, d_model {}, {} heads over {} key heads of {}, d_mlp {}, vocabulary {}, context {}",
        config.n_layers,
        config.d_model,
        config.n_heads,
        config.n_kv_heads,
        config.d_head,
        config.d_mlp,
        config.n_vocab,
        config.n_ctx
    ));
    for (site, width) in sites {
        output::line(format!(
            "hook point      blocks.{{0..{}}}.{}  width {width}",
            config.n_layers - 1,
            site.hook_name()
        ));
    }
    output::line(format!(
        "device          {}, {} rows at a time",
        model.device(),
        model.max_rows()
    ));
    for kind in model.weight_types() {
        output::line(format!(
            "file type       {}: {} tensors, {} MB",
            kind.name,
            kind.n_tensors,
            kind.n_bytes / 1_000_000
        ));
    }
    for kind in model.packed_types() {
        output::line(format!(
            "type in memory  {}: {} matrices, {} MB",
            kind.name,
            kind.n_tensors,
            kind.n_bytes / 1_000_000
        ));
    }
    output::line(format!(
        "memory          {} MB of weights, {} KB per token of context, {} MB for a full context of one sequence",
        model.weight_bytes() / 1_000_000,
        model.cache_bytes_per_token() / 1_000,
        model.cache_bytes_per_token() * config.n_ctx / 1_000_000
    ));
    output::line(format!(
        "fingerprint     {}",
        serde_json::to_string(model.fingerprint())?
    ));
    Ok(())
}
