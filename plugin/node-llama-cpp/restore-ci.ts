import { restoreCi } from "./ci-variable.js";

restoreCi();
