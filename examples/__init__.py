"""Short programs that use Holdfast. All but the demo need a server: `holdfast-server serve`."""
