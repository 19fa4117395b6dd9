# docs/lists.md: the table becomes a batch. docs/agents.md: a run, and whether anything is left.
burst sync jobs.csv --name job --template workflow_api.json --layout mirror --output images --server "$1" || exit
burst run --until-done
burst status --check
